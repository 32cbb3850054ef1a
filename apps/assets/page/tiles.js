/* Tiles of the operator's sources as a layer of the map, through this server: off until a person chooses one. */
import { blobUrl } from "./api.js";
import { add, app, byId, el, note } from "./state.js";
import { showLeaving } from "./settings.js";

const NAMES = { satellite: "Satellite", street_map: "Street map" };
const AT_ONCE = 3;  // a browser keeps six connections to a server: the conversation needs some of them
let drawn = null;  // the layer on the map, how it is credited, and the projection and zooms of the map without it

/* Requests one after another, a few at once; those of tiles that have left the map are not made. */
const waiting = [];
let underWay = 0;
const next = () => {
  while (underWay < AT_ONCE && waiting.length) {
    const { path, signal, done } = waiting.shift();
    if (signal.aborted) continue;
    underWay += 1;
    blobUrl(path, { signal }).then((found) => done(null, found), (error) => done(error)).finally(() => { underWay -= 1; next(); });
  }
};
const ask = (request) => { waiting.push(request); next(); };

const TileLayer = L.GridLayer.extend({
  createTile(coords, done) {
    const image = el("img"), leaving = new AbortController(), count = 2 ** coords.z;
    image.alt = "";
    image.leaving = leaving;
    const x = ((coords.x % count) + count) % count;
    const finish = async (error, found) => {
      if (leaving.signal.aborted) { if (found) URL.revokeObjectURL(found.url); return; }
      try {
        if (error) throw error;
        if (found.response.status === 200) {
          image.src = found.url;
          await image.decode();
        }
        done(null, image);
      } catch (problem) {
        if (leaving.signal.aborted) return;
        this.fire("unavailable", { problem });
        done(problem, image);
      } finally {
        if (found) URL.revokeObjectURL(found.url);
      }
    };
    ask({ path: `/v1/tiles/${this.options.kind}/${coords.z}/${x}/${coords.y}`, signal: leaving.signal, done: finish });
    return image;
  },
});

/* Another projection at the same place and scale: all that is drawn is projected anew. */
const project = (crs, minZoom, maxZoom, zoomChange) => {
  const { map } = app.map, centre = map.getCenter(), zoom = map.getZoom();
  Object.assign(map.options, { crs, minZoom, maxZoom });
  const change = zoomChange(Math.cos((Math.min(80, Math.abs(centre.lat)) * Math.PI) / 180));
  map.setView(centre, Math.min(maxZoom, Math.max(minZoom, zoom + change)), { reset: true });
  map.fire("zoomlevelschange");
};

const remove = () => {
  if (!drawn) return;
  const { layer, credit, crs, minZoom, maxZoom } = drawn, { map } = app.map;
  drawn = app.mapLayer = null;
  layer.remove();
  map.attributionControl.removeAttribution(credit);
  project(crs, minZoom, maxZoom, (cosine) => -1 - Math.log2(cosine));
};
const show = (offered) => {
  const { map } = app.map, { crs, minZoom, maxZoom } = map.options;
  project(L.CRS.EPSG3857, 1, Math.max(offered.max_zoom, maxZoom), (cosine) => 1 + Math.log2(cosine));
  const zooms = { minNativeZoom: offered.min_zoom, maxNativeZoom: offered.max_zoom, maxZoom: map.options.maxZoom };
  const layer = new TileLayer({ kind: offered.kind, ...zooms, noWrap: true, zIndex: 5, keepBuffer: 1, updateWhenIdle: true, updateWhenZooming: false });
  layer.on("tileunload", ({ tile }) => tile.leaving.abort());
  layer.once("unavailable", ({ problem }) => note(`Tiles of ${offered.name} are missing from the map: ${problem.message}`, "error"));
  const credit = el("span", "", offered.attribution).innerHTML;  // as text: Leaflet takes markup
  map.attributionControl.addAttribution(credit);
  drawn = { layer: layer.addTo(map), credit, crs, minZoom, maxZoom };
  app.mapLayer = offered;
};

/* A choice above the legend, if the server has a source of tiles. */
export const offerTiles = () => {
  const layers = app.offer.map_layers;
  if (!layers.length) return;
  const select = el("select");
  for (const [value, text] of [["", "Drawn here"], ...layers.map(({ kind, name }) => [kind, `${NAMES[kind]}: ${name}`])]) select.append(Object.assign(el("option", "", text), { value }));
  select.addEventListener("change", () => {
    remove();
    const chosen = layers.find(({ kind }) => kind === select.value);
    if (chosen) show(chosen);
    showLeaving();
  });
  byId("map").querySelector(".legend summary").after(add(el("label", "ground"), el("span", "", "Ground"), select));
};
