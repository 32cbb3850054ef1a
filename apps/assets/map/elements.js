"use strict";
/* Elements from data. Every text is placed as text, never as HTML. */
window.GeoSleuth = {};
(() => {
  const el = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const add = (parent, ...children) => { parent.append(...children); return parent; };
  Object.assign(window.GeoSleuth, { el, add });
})();
