// The pages work without this: it saves reloads, copies text and remembers what a form held.
"use strict";

// A question on its way: say how far it is, and load the page again when it is answered.
const waiting = document.querySelector("[data-job]");
async function look() {
  try {
    const reply = await fetch(`/api/v1/jobs/${waiting.dataset.job}`);
    const job = await reply.json();
    if (!reply.ok || !["waiting", "running"].includes(job.state)) return location.reload();
    if (job.progress) waiting.querySelector("[data-progress]").textContent = job.progress;
  } catch { /* the server may be busy; ask again */ }
  setTimeout(look, 700);
}
if (waiting) setTimeout(look, 300);

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// Back leads to the form as it was sent: its fields go into the address that it stays under.
for (const form of document.querySelectorAll("form[data-remember]")) {
  form.addEventListener("submit", () => {
    if (location.pathname !== "/") return;
    const fields = [...new FormData(form)].filter(([name, value]) => typeof value === "string" && value && name !== "csrf");
    history.replaceState(null, "", fields.length ? `?${new URLSearchParams(fields)}` : "/");
  });
}

// Sliders ask when they are let go, and say their value while they move.
for (const slider of document.querySelectorAll("input[type=range]")) {
  const shown = document.querySelector(`output[for="${slider.id}"]`);
  slider.addEventListener("input", () => { shown.textContent = slider.value + (slider.dataset.unit || ""); });
  slider.addEventListener("change", () => {
    sessionStorage.setItem("slider", slider.id);
    slider.form.requestSubmit();
  });
}
document.getElementById(sessionStorage.getItem("slider"))?.focus();
sessionStorage.removeItem("slider");
