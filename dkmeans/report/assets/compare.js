// A line to drag between two pictures that lie over each other: by mouse, finger and arrow keys.
for (const front of document.querySelectorAll(".front")) {
  const frame = front.querySelector(".frame");
  make("div", { className: "line" }, frame);
  const input = make("input", { type: "range", min: 0, max: 100, step: 0.5, value: 50 }, frame);
  input.setAttribute("aria-label", `Original left of the line, result right of it: ${front.dataset.name}`);
  const show = () => {
    front.style.setProperty("--at", `${input.value}%`);
    input.setAttribute("aria-valuetext", `${Math.round(input.value)} % original`);
  };
  const follow = event => {
    const box = frame.getBoundingClientRect();
    input.value = 100 * (event.clientX - box.left) / box.width;
    show();
  };
  let held = false;
  input.addEventListener("input", show);
  frame.addEventListener("dragstart", event => event.preventDefault());
  frame.addEventListener("pointerdown", event => {
    held = event.button === 0;
    if (!held) return;
    frame.setPointerCapture(event.pointerId);
    if (event.pointerType !== "touch") follow(event); // a finger may be about to scroll
  });
  frame.addEventListener("pointermove", event => { if (held) follow(event); });
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => { held = false; });
  frame.addEventListener("click", event => { follow(event); input.focus({ preventScroll: true }); });
  show();
}
