"use strict";
/* Very many photos on a map: those near one another are one mark. */
(() => {
  const { el, latLng } = window.GeoSleuth;
  /* Very many photos: of each the data have what the list shows; shapes and reasons are left out. */
  const CELL_PX = 56;
  const nearLon = (lon, middle) => middle + ((((lon - middle + 180) % 360) + 360) % 360) - 180;
  const filledIn = (data) => ({ chances, circles, point, ...photo }) => {
    const at = point && [nearLon(point[0], data.view.lon), point[1]];
    return {
      thumbnail: null, heat: [], hypotheses: [], evidence: [], candidates: [], tiles: [], metadata: null, areas: "", reasoning: data.leftOut,
      cost: [], versions: "", hash: "", summary: [photo.confidenceLabel + " " + photo.confidence], ...photo, point: at,
      chances: chances.map(([within, percent, share]) => ({ within, percent, share })),
      discs: circles.map(([share, title, size, km]) => ({ kind: `within${Math.round(100 * share)}`, title, size, km, lines: [] })),
      bounds: at ? [at[0] - 3, at[1] - 2, at[0] + 3, at[1] + 2] : data.view.bounds,
    };
  };
  /* Those near one another on the screen are one mark with their number. */
  const clustersIn = (map, photos) => {
    const seen = map.getBounds().pad(0.1), cells = new Map();
    for (const photo of photos) {
      if (!photo.point) continue;
      const at = latLng(photo.point);
      if (!seen.contains(at)) continue;
      const { x, y } = map.project(at), cell = `${Math.floor(x / CELL_PX)},${Math.floor(y / CELL_PX)}`;
      if (cells.has(cell)) cells.get(cell).push(photo);
      else cells.set(cell, [photo]);
    }
    return [...cells.values()];
  };
  const clusterMark = (photos, open) => {
    const lats = photos.map((photo) => photo.point[1]), lons = photos.map((photo) => photo.point[0]);
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const side = Math.round(22 + 7 * Math.log10(photos.length));
    const label = el("div", "cluster", photos.length.toLocaleString("en"));
    label.style.width = label.style.height = label.style.lineHeight = `${side}px`;
    const icon = L.divIcon({ className: "", html: label, iconSize: [side, side] });
    const mark = L.marker([mean(lats), mean(lons)], { icon, zIndexOffset: 1500, alt: `${photos.length} photos` });
    const box = L.latLngBounds([Math.min(...lats), Math.min(...lons)], [Math.max(...lats), Math.max(...lons)]);
    return mark.on("click", () => open(photos, box));
  };
  Object.assign(window.GeoSleuth, { filledIn, clustersIn, clusterMark });
})();
