// Each picture alone and large, in a dialog, and saved as a file: plots as SVG and PNG, pictures as PNG.
{
  const SHARP = 3; // pixels of the PNG of a plot for each of its own
  const dialog = make("dialog", {}, document.body);
  const bar = make("div", {}, dialog);
  const title = make("h2", { id: "zoom-title" }, bar);
  const smaller = button("Smaller", "", bar, () => scale(factor / 2));
  const larger = button("Larger", "", bar, () => scale(2 * factor));
  button("Close", "", bar, () => dialog.close());
  const pan = make("div", { className: "pan", tabIndex: 0 }, dialog);
  pan.setAttribute("role", "group");
  for (const element of [dialog, pan]) element.setAttribute("aria-labelledby", title.id);
  const picture = make("img", {}); // in the dialog once it shows one
  let factor = 1, fit = 1; // of what fits, and that in pixels for each of the picture

  const scale = wanted => {
    factor = Math.min(16, Math.max(1, wanted));
    picture.style.width = `${Math.round(fit * factor * picture.getAttribute("width"))}px`;
    picture.classList.toggle("crisp", !isPlot(picture) && fit * factor >= 2);
    smaller.disabled = factor === 1;
    larger.disabled = factor === 16;
  };
  const isPlot = image => image.src.startsWith("data:image/svg");

  const open = image => {
    title.textContent = image.alt;
    pan.replaceChildren(picture);
    const [width, height] = ["width", "height"].map(name => image.getAttribute(name));
    Object.assign(picture, { src: image.currentSrc, alt: image.alt, width, height });
    picture.classList.toggle("alpha", image.classList.contains("alpha"));
    dialog.showModal();
    fit = Math.min(pan.clientWidth / width, pan.clientHeight / height);
    scale(1);
    pan.focus();
  };
  dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", event => {
    if (event.key === "+") scale(2 * factor);
    if (event.key === "-") scale(factor / 2);
  });

  const saveSharp = async (image, name) => { // on white, as on paper
    const plot = new Image();
    plot.src = image.src;
    await plot.decode();
    const [width, height] = ["width", "height"].map(name => SHARP * image.getAttribute(name));
    const canvas = make("canvas", { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(plot, 0, 0, width, height);
    canvas.toBlob(blob => save(name, blob));
  };

  for (const figure of document.querySelectorAll("figure:has(img[data-file])")) {
    const images = [...figure.querySelectorAll("img[data-file]")];
    const caption = figure.querySelector("figcaption") ?? make("figcaption", {}, figure);
    const tools = make("div", { className: "tools" }, caption);
    for (const image of images) {
      const file = image.dataset.file, tag = image.closest(".shot")?.querySelector(".tag");
      if (images.length > 1) make("span", { textContent: tag.textContent }, tools);
      button("Zoom", image.alt, tools, () => open(image));
      if (isPlot(image)) button("SVG", `save ${file}`, tools, () => save(`${file}.svg`, blobOf(image.src)));
      const png = () => isPlot(image) ? saveSharp(image, `${file}.png`) : save(`${file}.png`, blobOf(image.src));
      button("PNG", `save ${file}`, tools, png);
      if (!image.closest(".front")) image.addEventListener("click", () => open(image));
    }
  }
}
