// Zooming and panning of one element inside another: wheel, pinch, drag, double click.

const MOST = 12;

export class Zoom {
  /**
   * `stage` takes the gestures, `paper` is moved; `changed` is told of every change.
   * @param {HTMLElement} stage
   * @param {HTMLElement} paper
   * @param {(scale: number) => void} changed
   */
  constructor(stage, paper, changed) {
    this.stage = stage;
    this.paper = paper;
    this.changed = changed;
    this.pointers = new Map();
    this.reset();
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.by(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), event);
    }, { passive: false });
    stage.addEventListener("dblclick", (event) => (this.scale > 1.05 ? this.reset() : this.by(2.5, event)));
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.drag(event));
    stage.addEventListener("pointerup", (event) => this.pointers.delete(event.pointerId));
    stage.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
  }

  reset() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.apply();
  }

  /** Zoom by a factor, keeping what is under the pointer (else the middle) where it is. */
  by(factor, at = null) {
    const box = this.stage.getBoundingClientRect();
    const px = (at ? at.clientX - box.left : box.width / 2) - box.width / 2;
    const py = (at ? at.clientY - box.top : box.height / 2) - box.height / 2;
    const scale = Math.min(MOST, Math.max(1, this.scale * factor));
    const k = scale / this.scale;
    this.x = px - (px - this.x) * k;
    this.y = py - (py - this.y) * k;
    this.scale = scale;
    this.apply();
  }

  down(event) {
    if (event.target.closest("button, a")) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    if (other) {
      const apart = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY);
      this.by(apart(event) / Math.max(1, apart(before)), {
        clientX: (event.clientX + other.clientX) / 2,
        clientY: (event.clientY + other.clientY) / 2,
      });
    } else {
      this.x += event.clientX - before.clientX;
      this.y += event.clientY - before.clientY;
      this.apply();
    }
    this.pointers.set(event.pointerId, event);
  }

  apply() {
    const roomX = (this.paper.offsetWidth * this.scale - this.paper.offsetWidth) / 2;
    const roomY = (this.paper.offsetHeight * this.scale - this.paper.offsetHeight) / 2;
    this.x = Math.min(roomX, Math.max(-roomX, this.x));
    this.y = Math.min(roomY, Math.max(-roomY, this.y));
    this.paper.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.stage.classList.toggle("zoomed", this.scale > 1.01);
    this.changed(this.scale);
  }
}
