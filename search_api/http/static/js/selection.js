// Which of a search's photos are chosen, to be cut out.

export class Selection {
  /** `changed` runs after every change. */
  constructor(changed) {
    this.photos = new Set();
    this.last = null;
    this.changed = changed;
  }

  get size() {
    return this.photos.size;
  }

  has(photoId) {
    return this.photos.has(photoId);
  }

  /** Choose a photo or let it go; with `among`, everything from the last choice on follows it. */
  toggle(photoId, among = null) {
    const chosen = !this.photos.has(photoId);
    const [from, to] = [this.last, photoId].map((each) => among?.indexOf(each) ?? -1);
    const turned = from >= 0 && to >= 0 ? among.slice(Math.min(from, to), Math.max(from, to) + 1) : [photoId];
    for (const each of turned) this.photos[chosen ? "add" : "delete"](each);
    this.last = photoId;
    this.changed();
  }

  /** Choose these photos and no others. */
  choose(photoIds) {
    this.photos = new Set(photoIds);
    this.last = null;
    this.changed();
  }

  /** Let photos go the way of one that was just chosen or let go. */
  together(photoId, others) {
    const does = this.photos.has(photoId) ? "add" : "delete";
    for (const each of others) this.photos[does](each);
    if (others.length) this.changed();
  }

  clear() {
    this.choose([]);
  }
}
