"use strict";
(() => {
  const source = document.getElementById("cell-document");
  if (!source) return;
  const { labels, images } = JSON.parse(source.textContent);
  const buttons = [...document.querySelectorAll("button[data-cell]")];
  const panel = document.getElementById("cell-images");
  const title = document.getElementById("cell-title");
  const note = document.getElementById("cell-note");
  const gallery = document.getElementById("cell-gallery");

  const element = (kind, className, text) => {
    const made = document.createElement(kind);
    made.className = className;
    if (text) made.textContent = text;
    return made;
  };

  const card = (image, alt) => {
    const item = document.createElement("li");
    const picture = element("img", "thumb");
    picture.src = image.src;
    picture.alt = alt;
    const key = element("bdi", "key-of", image.key);
    key.title = image.key;
    item.append(
      picture,
      element("span", "caption", image.confidence),
      key,
    );
    return item;
  };

  const close = () => {
    panel.hidden = true;
    for (const button of buttons) button.setAttribute("aria-expanded", "false");
  };

  const open = (button) => {
    close();
    const [actual, predicted] = button.dataset.cell.split("-");
    const found = images[button.dataset.cell] || [];
    const count = Number(button.dataset.count);
    const hidden = count - found.length;
    title.textContent = `true \u2068${labels[actual]}\u2069 → predicted \u2068${labels[predicted]}\u2069`;
    note.textContent =
      `${count.toLocaleString("en")} ${count === 1 ? "image" : "images"}` +
      (hidden ? `, ${hidden.toLocaleString("en")} of them not shown` : "") +
      "; the most confident first, figures are confidences.";
    gallery.replaceChildren(...found.map((image) => card(image, title.textContent)));
    panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    panel.scrollIntoView({ block: "nearest" });
  };

  const neighbour = (button, rows, columns) => {
    let cell = button.closest("td");
    let row = cell.parentElement;
    const place = () => [...row.children].indexOf(cell);
    for (;;) {
      if (columns) {
        cell = columns > 0 ? cell.nextElementSibling : cell.previousElementSibling;
      } else {
        const column = place();
        row = rows > 0 ? row.nextElementSibling : row.previousElementSibling;
        cell = row && row.children[column];
      }
      if (!cell) return null;
      const found = cell.querySelector("button[data-cell]");
      if (found) return found;
    }
  };

  const moves = {
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
  };

  // One stop of the tab key for the whole matrix.
  const reach = (button) => {
    for (const each of buttons) each.tabIndex = each === button ? 0 : -1;
  };

  for (const button of buttons) {
    button.addEventListener("click", () =>
      button.getAttribute("aria-expanded") === "true" ? close() : open(button),
    );
    button.addEventListener("focus", () => reach(button));
    button.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      const next = moves[event.key] && neighbour(button, ...moves[event.key]);
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
  }
  if (buttons.length) reach(buttons[0]);
})();
