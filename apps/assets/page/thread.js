/* Saved conversations: open one, list them, delete one with its photos. */
import { blobUrl, getJson, sendJson } from "./api.js";
import { add, app, button, byId, clearAnswer, el, emit, note, on, showAnswer, showCost, toEnd } from "./state.js";
import { answerCard, machineSaid, offerResume, personSaid, questionCard, undo } from "./turns.js";

const LAST = "geosleuth-thread";
const thumbnails = new Map();
let begun = 0; // openings of a conversation: of several that overlap, only the last is shown

export const startNew = () => {
  if (app.run) app.run.abort();
  begun++;
  app.thread = null;
  app.question = false;
  sessionStorage.removeItem(LAST);
  clearAnswer();
  showCost({});
  byId("photos").hidden = true;
  byId("log").replaceChildren(emptyState());
  emit("tab", "chat");
};

const emptyState = () => {
  const box = el("label", "empty");
  box.htmlFor = "file";
  return add(box, el("strong", "", "Where was this photo taken?"), el("span", "", "Drop a photo here, paste it, or choose a file. You see each step, how sure the answer is, and why."));
};

const thumbnail = async (threadId, photoId) => {
  if (!thumbnails.has(photoId)) thumbnails.set(photoId, (await blobUrl(`/v1/threads/${threadId}/photos/${photoId}`)).url);
  return thumbnails.get(photoId);
};

const showPhotos = (history) => {
  sessionStorage.setItem(LAST, app.thread);
  const strip = byId("photos");
  strip.hidden = history.photos.length < 2;
  if (strip.hidden) return;
  strip.replaceChildren(...history.photos.map((photo, index) => {
    const pick = button("", () => showAnswer(photo.photo_id).catch((error) => note(error.message, "error")));
    const image = el("img");
    image.alt = photo.name || `Photo ${index + 1}`;
    pick.dataset.id = photo.photo_id;
    pick.disabled = !photo.answer;
    thumbnail(app.thread, photo.photo_id).then((url) => { image.src = url; });
    return add(pick, image);
  }));
  mark();
};
const mark = () => {
  for (const pick of byId("photos").children) pick.setAttribute("aria-pressed", String(pick.dataset.id === app.photoId));
};

/* Everything that was said and shown, with the present answer about the current photo last. */
export const openThread = async (threadId) => {
  const number = ++begun;
  const thread = await getJson(`/v1/threads/${threadId}`);
  const { history } = thread;
  const photos = await Promise.all(history.photos.map((photo) => Promise.all([photo.photo_id, ...photo.more_photo_ids].map((id) => thumbnail(threadId, id)))));
  if (number !== begun) return;
  app.thread = threadId;
  app.choices = thread.choices;
  app.question = false;
  emit("choices");
  byId("log").replaceChildren();
  clearAnswer();
  showCost(history.cost);
  const current = history.photos.find((photo) => photo.photo_id === history.current_photo_id);
  history.photos.forEach((photo, index) => personSaid("", photos[index], photo.name));
  for (const said of history.messages) if (said.text) (said.role === "person" ? personSaid : machineSaid)(said.text);
  const answer = current && current.answer ? await showAnswer(current.photo_id) : null;
  if (number !== begun) return;
  if (answer) answerCard(answer);
  showPhotos(history);
  if (thread.is_busy) waitFor(threadId);
  else if (history.question) questionCard(history.question);
  else if (history.is_unfinished) offerResume("The last turn was not finished.");
  else if (history.messages.length) byId("log").append(add(el("div", "actions undo"), button("Undo", undo, "quiet")));
  if (!history.photos.length && !history.messages.length) byId("log").replaceChildren(emptyState());
  toEnd();
};

/* A turn that another page, or this one before it was loaded again, has begun. */
const waitFor = (threadId) => {
  note("A turn is being answered.");
  setTimeout(() => { if (app.thread === threadId && !app.run) openThread(threadId).catch((error) => note(error.message, "error")); }, 1500);
};

const remove = async (thread, row) => {
  await sendJson("DELETE", `/v1/threads/${thread.id}`);
  row.remove();
  if (thread.id === app.thread) startNew();
  if (!byId("threads").children.length) byId("threads").append(el("li", "small", "No conversation is saved."));
};

const threadRow = (thread) => {
  const row = el("li"), title = thread.title || "Untitled";
  const open = button("", () => { byId("history").close(); emit("tab", "chat"); openThread(thread.id).catch((error) => note(error.message, "error")); }, "open");
  add(open, el("span", "name", title), el("span", "small", new Date(thread.updated_at).toLocaleString()));
  if (thread.id === app.thread) open.setAttribute("aria-current", "true");
  const erase = button("Delete", () => {
    if (erase.textContent === "Delete") { erase.textContent = "Delete with photos?"; erase.classList.add("sure"); return; }
    remove(thread, row).catch((error) => { erase.textContent = error.message; });
  }, "quiet");
  erase.setAttribute("aria-label", `Delete ${title} with its photos`);
  erase.addEventListener("blur", () => { erase.textContent = "Delete"; erase.classList.remove("sure"); });
  return add(row, open, erase);
};

export const openHistory = async () => {
  const list = byId("threads");
  list.replaceChildren(el("li", "small", "Loading"));
  byId("history").showModal();
  try {
    const rows = (await getJson("/v1/threads?limit=200")).map(threadRow);
    list.replaceChildren(...(rows.length ? rows : [el("li", "small", "No conversation is saved.")]));
  } catch (error) { list.replaceChildren(el("li", "error", error.message)); }
};

export const openLast = async () => {
  const last = sessionStorage.getItem(LAST);
  startNew();
  if (!last) return;
  await openThread(last).catch(startNew);
};

on("photos", showPhotos);
on("answer", mark);
on("reload", (threadId) => openThread(threadId).catch((error) => note(error.message, "error")));
