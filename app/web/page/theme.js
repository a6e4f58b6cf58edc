// Before the first paint, which a module would be too late for: the light that was chosen here last time.
try {
  const chosen = localStorage.getItem("studio.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's choice stands.
}
