/* Turns of the conversation: what is sent, the steps as they happen, the reply; stop, resume, undo. */
import { ApiError, download, events, getJson, sendJson } from "./api.js";
import { add, app, button, byId, clearAnswer, el, emit, note, openTab, photoPath, showAnswer, showCost, toEnd, toStartOf } from "./state.js";

const { headline, footnotes } = window.GeoSleuth;
const STEPS = { look: "Look", recall: "Search", cluster: "Group", hypothesise: "Propose", investigate: "Plan", tools: "Check", revise: "Revise", pose_question: "Ask", ask_person: "Answer", discuss: "Think", act: "Act", recommit: "Decide" };
const FILES = [["HTML report", "html"], ["Photo with XMP", "jpeg"], ["GeoJSON", "geojson"], ["KML", "kml"], ["JSON", "json"]];

const bubble = (who, ...children) => {
  const box = add(el("div", `said ${who}`), ...children);
  byId("log").append(box);
  return box;
};
export const personSaid = (text, pictures = [], name = "") => {
  const box = bubble("person");
  for (const [index, picture] of pictures.entries()) {
    const image = el("img");
    image.src = picture;
    image.alt = [name ? `Photo ${name}` : "Photo", ...(pictures.length > 1 ? [`${index + 1} of ${pictures.length}`] : [])].join(", ");
    box.append(image);
  }
  if (text) box.append(el("p", "", text));
  return box;
};
export const machineSaid = (text) => bubble("machine", el("p", "", text));

/* The steps of a turn: open while it runs, folded away when it has ended. */
const stepList = () => {
  const list = el("ol"), summary = el("summary", "", "Working"), box = add(el("details", "steps running"), summary, list);
  const began = performance.now();
  let last = null;
  box.open = true;
  byId("log").append(box);
  return {
    step: (event) => {
      list.append(add(last = el("li"), el("b", "", STEPS[event.step] || event.step), el("span", "", event.text)));
      toEnd();
    },
    tool: ({ event }) => {
      list.append(add(el("li", event.error ? "tool failed" : "tool"), el("span", "", event.name.replaceAll("_", " ")), el("span", "", event.error || `${(event.seconds || 0).toFixed(2)} s`)));
      toEnd();
    },
    waiting: (ahead) => { summary.textContent = ahead ? `Waiting; ${ahead} before this` : "Working"; },
    end: () => {
      box.classList.remove("running");
      box.open = false;
      const count = list.querySelectorAll("li:not(.tool)").length;
      summary.textContent = `${count} step${count === 1 ? "" : "s"}, ${((performance.now() - began) / 1000).toFixed(1)} s`;
      if (!list.children.length) box.remove();
    },
  };
};

export const answerCard = (photo) => {
  const card = add(el("article", "card"), headline(photo, "h2"));
  const why = add(el("details", "why"), el("summary", "", "Reasoning"), el("p", "reasoning", photo.reasoning), footnotes(photo));
  const save = add(el("details", "save"), el("summary", "", "Save"));
  const menu = el("div", "menu");
  for (const [label, format] of FILES)
    if (format !== "jpeg" || photo.point) menu.append(button(label, () => download(photoPath(`export?format=${format}`), `geosleuth.${format}`).catch(said)));
  save.append(add(menu, button("Print or PDF", () => window.print())));
  const more = add(el("div", "actions"), button("Show evidence", () => openTab("evidence")), button("Compare places", () => openTab("compare")), save);
  add(card, why, more);
  byId("log").append(card);
  return card;
};
const said = (error) => note(error.message, "error");

export const questionCard = (question) => {
  app.question = true;
  const box = bubble("machine question", el("p", "", question.question));
  const answers = el("div", "actions");
  for (const text of question.answers) answers.append(button(text, () => { answers.remove(); send(text); }));
  if (question.answers.length) box.append(answers);
};

/* Belief and hypotheses in the middle of a run; the finished answer replaces them. */
const drawLive = (areas, hypotheses) => {
  const shares = [...areas].sort((a, b) => b.share - a.share), ramp = app.world.ramp;
  const colour = (share) => ramp[[0.25, 0.5, 0.75].filter((one) => one < share).length];
  app.map.clear();
  shares.forEach((area) => {
    const title = `${Math.round(area.share * 100)} % area`;
    app.map.drawHeat({ kind: `area${Math.round(area.share * 100)}`, colour: colour(area.share), outlined: [0.5, 0.9].includes(area.share), size: "", title, lines: ["so far"], polygons: area.polygons });
  });
  hypotheses.forEach((hypothesis, index) => app.map.drawHypothesis({
    id: hypothesis.id, label: String(index + 1), name: hypothesis.name, lines: [`${Math.round(hypothesis.probability * 100)} % so far`], claims: [],
    at: [hypothesis.point.lon, hypothesis.point.lat], rings: [],
  }));
};

const follow = async (path, form, photoSent) => {
  const run = (app.run = new AbortController());
  emit("run", true);
  const steps = stepList();
  let spoken = null, areas = [], hypotheses = [], spent = {}, asked = false;
  const handlers = {
    accepted: ({ ahead }) => steps.waiting(ahead),
    tool: (event) => steps.tool(event),
    step: (event) => {
      steps.waiting(0);
      steps.step(event);
      for (const [name, value] of Object.entries(event.cost)) spent[name] = (spent[name] || 0) + value;
      showCost(null, spent);
      if (event.hypotheses.length && photoSent) drawLive(areas, (hypotheses = event.hypotheses));
    },
    belief: (event) => drawLive((areas = event.areas), hypotheses),
    token: ({ text, step }) => {
      if (step !== "discuss") return;
      spoken = spoken || machineSaid("");
      spoken.firstChild.textContent += text;
      toEnd();
    },
    question: (event) => { asked = true; questionCard(event); },
    reply: (event) => {
      if (photoSent && event.answer) return;
      if (!spoken) machineSaid(event.text);
      else if (event.rest) spoken.append(el("p", "", event.rest));
    },
    error: (event) => { throw new ApiError(event.status, event.title, event.detail); },
  };
  try {
    for await (const [name, data] of events(path, form, run.signal)) if (handlers[name]) handlers[name](data);
  } finally {
    steps.end();
    app.run = null;
    emit("run", false);
  }
  await afterTurn(photoSent, asked);
};

/* What the turn has changed: the cost, the photos, the answer. */
const afterTurn = async (photoSent, asked) => {
  const { history } = await getJson(`/v1/threads/${app.thread}`);
  showCost(history.cost);
  emit("photos", history);
  const current = history.photos.find((photo) => photo.photo_id === history.current_photo_id);
  if (current && current.answer) {
    const before = app.photoId === current.photo_id && app.answer ? app.answer.heading + app.answer.coordinates : "";
    const photo = await showAnswer(current.photo_id, { move: true });
    if (photoSent || before !== photo.heading + photo.coordinates) toStartOf(answerCard(photo));
  }
  if (!asked) addUndo();
  byId("say").focus({ preventScroll: true });
};

const addUndo = () => {
  document.querySelectorAll(".undo").forEach((node) => node.remove());
  const row = add(el("div", "actions undo"), button("Undo", undo, "quiet"));
  byId("log").append(row);
};

export const undo = async () => {
  document.querySelectorAll(".undo").forEach((node) => node.remove()); // once a click
  try {
    const { words } = await sendJson("POST", `/v1/threads/${app.thread}/undo`);
    byId("say").value = words;
    emit("reload", app.thread);
  } catch (error) { said(error); addUndo(); }
};

/* A turn that was stopped ends at its next event on the server: until then the thread is busy. */
const stopped = async () => {
  for (let tries = 0; tries < 100; tries++) {
    const thread = await getJson(`/v1/threads/${app.thread}`);
    if (!thread.is_busy) break;
    await new Promise((done) => setTimeout(done, 200));
  }
  offerResume("Stopped.");
};
export const offerResume = (text) => {
  const row = add(el("div", "actions resume"), el("span", "note", text), button("Resume", () => { row.remove(); turn("resume", new FormData(), !app.answer); }), button("Undo", () => { row.remove(); undo(); }));
  byId("log").append(row);
  toEnd();
};

const turn = async (action, form, photoSent) => {
  try {
    await follow(`/v1/threads/${app.thread}/${action}`, form, photoSent);
  } catch (error) {
    if (error.name === "AbortError") await stopped().catch(said);
    else said(error);
  }
};

const ensureThread = async (title) => {
  if (app.thread) return;
  const thread = await sendJson("POST", "/v1/threads", { title: title.slice(0, 200), choices: app.choices });
  app.thread = thread.id;
};

/* Words, and perhaps photos: several are of one place, which may be the one that is talked about. */
export const send = async (text, files = [], samePlace = false) => {
  if (app.run) return;
  document.querySelectorAll(".empty, .undo, .resume").forEach((node) => node.remove());
  const name = files.map((file) => file.name).join(" + ");
  /* Words, and photos that join a place, are about the photo that is shown; the answer to a question is about its photo. */
  const about = app.question || (files.length && !samePlace) ? null : app.photoId;
  app.question = false;
  personSaid(text, files.map((file) => URL.createObjectURL(file)), name);
  toEnd();
  if (files.length) clearAnswer();
  try {
    await ensureThread(name || text);
  } catch (error) { said(error); return; }
  const form = new FormData();
  form.set("text", text);
  form.set("live_areas", "true");
  if (samePlace) form.set("same_place", "true");
  if (about) form.set("about_photo_id", about);
  for (const file of files) form.append("photo", file, file.name);
  await turn("messages", form, files.length > 0);
};

export const stop = () => { if (app.run) app.run.abort(); };
