// What all scripts of a page share. Without them the page is whole: what they add is to play with.
"use strict";
document.documentElement.classList.add("js");

const make = (tag, values, parent) => {
  const element = Object.assign(document.createElement(tag), values);
  if (parent) parent.append(element);
  return element;
};

const button = (text, about, parent, onclick) => {
  const made = make("button", { type: "button", textContent: text, onclick }, parent);
  if (about) made.setAttribute("aria-label", `${text}: ${about}`);
  return made;
};

const save = (name, blob) => {
  const href = URL.createObjectURL(blob);
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
};

// A data URI of base64 as a file: browsers follow links to such URIs only up to some length.
const blobOf = uri => {
  const [, type, data] = uri.match(/^data:([^,]*);base64,(.*)$/s);
  return new Blob([Uint8Array.from(atob(data), char => char.charCodeAt(0))], { type });
};

for (const link of document.querySelectorAll("a.save")) {
  link.addEventListener("click", event => {
    event.preventDefault();
    save(link.download, blobOf(link.href));
  });
}
