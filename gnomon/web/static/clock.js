// Time at an item: what passes after a minute without a sign of life is idle.

export const IDLE = 60_000;
let active = 0, idle = 0, seen = performance.now(), counted = seen;

function count() {
  const now = performance.now(), live = Math.max(0, Math.min(now, seen + IDLE) - counted);
  active += live;
  idle += now - counted - live;
  counted = now;
}

export function restart() {
  active = idle = 0;
  seen = counted = performance.now();
}

export function seconds() {
  count();
  return { active: active / 1000, idle: idle / 1000 };
}

export const quietFor = () => performance.now() - seen;

for (const sign of ["pointermove", "pointerdown", "keydown", "scroll", "touchstart"]) {
  addEventListener(sign, () => { count(); seen = performance.now(); }, { passive: true });
}
