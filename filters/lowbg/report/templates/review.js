"use strict";
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target instanceof HTMLInputElement) return;
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]:enabled`);
  if (button) button.click();
});
