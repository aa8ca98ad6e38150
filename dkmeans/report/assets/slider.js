// A slider that shows one step of several, such as one number of clusters, with all that is told of it.
for (const slider of document.querySelectorAll(".slider")) {
  const steps = [...slider.querySelectorAll(".step")];
  const control = make("div", { className: "control" });
  const label = make("label", { textContent: slider.dataset.label }, control);
  const range = make("input", { type: "range", min: 0, max: steps.length - 1, value: slider.dataset.start }, label);
  const show = () => {
    steps.forEach((step, place) => step.classList.toggle("on", place === Number(range.value)));
    const about = steps[range.value].querySelector(".about");
    range.setAttribute("aria-valuetext", about.textContent.replace(/\s+/g, " ").trim());
  };
  range.addEventListener("input", show);
  slider.prepend(control);
  show();
}
