// Time spent on an item: from one minute after the last input on, it counts as idle.

export const IDLE = 60_000;
let active = 0, idle = 0, lastInput = performance.now(), counted = lastInput;

function count() {
  const now = performance.now(), live = Math.max(0, Math.min(now, lastInput + IDLE) - counted);
  active += live;
  idle += now - counted - live;
  counted = now;
}

export function restart(earlier = {}) { // earlier: seconds that count already
  active = 1000 * (earlier.active ?? 0);
  idle = 1000 * (earlier.idle ?? 0);
  lastInput = counted = performance.now();
}

export function seconds() {
  count();
  return { active: active / 1000, idle: idle / 1000 };
}

export const sinceInput = () => performance.now() - lastInput;

for (const event of ["pointermove", "pointerdown", "keydown", "scroll", "touchstart"]) {
  addEventListener(event, () => { count(); lastInput = performance.now(); }, { passive: true });
}
