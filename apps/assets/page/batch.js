/* Many photos, or a zip of them, as a job of the server: a table, a map, files of the results. */
import { download, getJson, request, sendJson } from "./api.js";
import { add, app, button, byId, el, on } from "./state.js";

let job = null;
let timer = null;
let shown = null; // the job whose table is on the page, and how many of its photos it holds

const fail = (error) => byId("batch-note").replaceChildren(el("span", "error", error.message));

const picker = () => {
  const input = el("input");
  Object.assign(input, { type: "file", multiple: true, accept: "image/*,.heic,.heif,.avif,.zip", id: "batch-file" });
  input.addEventListener("change", () => { if (input.files.length) startJob([...input.files]); input.value = ""; });
  return add(el("label", "empty small-drop"), el("strong", "", "Locate many photos"), el("span", "", "Drop photos or a zip here, or choose files. The job goes on when you close this page."), input);
};

export const startJob = async (files) => {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  for (const [name, value] of Object.entries(app.choices)) for (const one of value ? [value].flat() : []) form.append(name, one);
  byId("batch-note").textContent = "Sending";
  try {
    show(await (await request("/v1/jobs", { method: "POST", body: form })).json());
  } catch (error) { fail(error); }
};

const show = (found) => {
  job = found;
  shown = null;
  clearTimeout(timer);
  refresh().catch(fail);
};

const isOver = () => ["done", "cancelled"].includes(job.status);

const refresh = async () => {
  const asked = job;
  const found = await getJson(`/v1/jobs/${asked.id}`);
  if (job !== asked) return; // another job is shown by now, or none
  job = found;
  const total = Object.values(job.counts).reduce((sum, count) => sum + count, 0);
  byId("batch-note").textContent = `${job.counts.done || 0} of ${total} done${job.status === "cancelled" ? "; cancelled" : ""}`;
  byId("batch-actions").replaceChildren(...actions());
  const state = `${job.id} ${job.counts.done || 0} ${isOver()}`;
  if (shown !== state) {
    const rows = await getJson(`/v1/jobs/${found.id}/table`);
    if (job !== found) return;
    shown = state;
    byId("batch-table").replaceChildren(table(rows));
    if (!byId("batch").hidden) drawRows(rows);
  }
  if (!isOver()) timer = setTimeout(() => refresh().catch(fail), 1000);
};

const actions = () => {
  const files = [["CSV", "csv"], ["GeoJSON", "geojson"], ["JSON lines", "jsonl"]];
  const saves = files.map(([label, format]) => button(label, () => download(`/v1/jobs/${job.id}/results?format=${format}`, `geosleuth.${format}`).catch(fail)));
  const end = isOver()
    ? button("Delete job", () => sendJson("DELETE", `/v1/jobs/${job.id}`).then(() => { job = null; clearTimeout(timer); build(); app.map.drawPins([], () => {}); }).catch(fail), "quiet")
    : button("Cancel", () => sendJson("POST", `/v1/jobs/${job.id}/cancel`).then(show).catch(fail), "quiet");
  return [...saves, end];
};

const table = (rows) => {
  const head = add(el("tr"), ...["Photo", "Place", "Sure", "50 % within"].map((text) => Object.assign(el("th", "", text), { scope: "col" })));
  const body = el("tbody");
  rows.forEach((row) => {
    const name = add(el("td", "name"), row.point ? button(row.name, () => app.map.show(row.bounds), "link") : el("span", "", row.name));
    body.append(add(el("tr"), name, el("td", row.error ? "error" : "", row.error || row.heading), el("td", "", row.confidence), el("td", "", row.radius)));
  });
  return add(el("table"), add(el("caption", "hidden"), "Results"), add(el("thead"), head), body);
};

const drawRows = (rows) => {
  const placed = rows.filter((row) => row.point);
  app.map.clear();
  app.map.drawPins(placed, (index) => app.map.show(placed[index].bounds));
  if (!placed.length || !isOver()) return;
  const lons = placed.map((row) => row.point[0]), lats = placed.map((row) => row.point[1]);
  app.map.show([Math.min(...lons) - 6, Math.min(...lats) - 6, Math.max(...lons) + 6, Math.max(...lats) + 6]);
};

const build = () => {
  const parts = ["batch-note", "batch-actions", "batch-table"].map((id) => Object.assign(el("div", id === "batch-actions" ? "actions" : ""), { id }));
  parts[0].setAttribute("role", "status");
  byId("batch").replaceChildren(picker(), ...parts);
};

const openLatest = async () => {
  const jobs = await getJson("/v1/jobs?limit=1");
  if (jobs.length) show(jobs[0]);
};

on("tab", (name) => {
  if (name !== "batch") {
    if (job) { app.map.drawPins([], () => {}); if (app.answer) { app.map.drawPhoto(app.answer); app.map.show(app.answer.bounds); } }
    return;
  }
  if (!byId("batch").children.length) build();
  if (job) show(job);
  else openLatest().catch(fail);
});
