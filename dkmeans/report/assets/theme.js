// Dark or light as the system has it, until the button is pressed. The style sheet and the plots of a dark page
// carry a media query; paper stays light.
{
  const dressed = document.querySelectorAll("[media*='prefers-color-scheme']");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const toggle = button("Dark", "", document.querySelector("header"), () => paint(!dark));
  toggle.className = "theme";
  let dark;
  const paint = wanted => {
    dark = wanted;
    for (const element of dressed) element.media = dark ? "screen" : "not all";
    toggle.setAttribute("aria-pressed", dark);
  };
  system.addEventListener("change", () => paint(system.matches));
  paint(system.matches);
}
