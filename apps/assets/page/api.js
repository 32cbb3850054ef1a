/* The HTTP API: requests with the key of this tab, errors in its words, server-sent events of a POST. */
const KEY = "geosleuth-key";

export class ApiError extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
  }
}

export const setKey = (key) => sessionStorage.setItem(KEY, key);

const headers = (more) => {
  const key = sessionStorage.getItem(KEY);
  return { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...more };
};

const failed = async (response) => {
  const problem = await response.json().catch(() => ({}));
  return new ApiError(response.status, problem.title || "The server did not answer as expected", problem.detail || `status ${response.status}`);
};

export const request = async (path, options = {}) => {
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached", "The server cannot be reached; is it still running?");
  }
  if (!response.ok) throw await failed(response);
  return response;
};

export const getJson = async (path) => (await request(path)).json();

export const sendJson = async (method, path, body) => {
  const options = body === undefined ? { method } : { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
};

const FINAL = ["answer", "reply", "question", "error"];

/* Events of a run, as they come: `[name, data]`. Leaving the loop, or aborting, ends the run at its next event. */
export async function* events(path, form, signal) {
  const response = await request(path, { method: "POST", body: form, signal, headers: { Accept: "text/event-stream" } });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "", name = "", data = [], last = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done && FINAL.includes(last)) return;
    if (done) throw new ApiError(503, "The answer broke off", "The server ended the answer before its end; send it again, or resume the turn.");
    const lines = (unread + value).split("\n");
    unread = lines.pop();
    for (const line of lines) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
      else if (line === "" && name) {
        yield [name, JSON.parse(data.join("\n"))];
        last = name; name = ""; data = [];
      }
    }
  }
}

export const blobUrl = async (path, options = {}) => {
  const response = await request(path, options);
  return { url: URL.createObjectURL(await response.blob()), about: response.headers.get("X-About") || "", response };
};

export const download = async (path, fallback) => {
  const { url, response } = await blobUrl(path);
  const named = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") || "");
  const link = Object.assign(document.createElement("a"), { href: url, download: named ? named[1] : fallback });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
};
