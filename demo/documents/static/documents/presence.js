// Who is here, and where.

const LEAVING_MILLISECONDS = 1500;

export class Presence {
  constructor({ onPeople, onArrival, me }) {
    Object.assign(this, { onPeople, onArrival, me });
    this.people = null;
    this.at = 0;
    this.timer = null;
  }

  // Messages may come in another order than they were written in; the latest one holds.
  hear({ at, people }) {
    if (at < this.at) return;
    this.at = at;
    clearTimeout(this.timer);
    // Who goes from one page to another is away for a moment: those who leave are let go a little later.
    const leaving = (this.people ?? []).filter((person) => !people.some((other) => other.id === person.id));
    if (leaving.length) this.timer = setTimeout(() => this.take(people), LEAVING_MILLISECONDS);
    this.take([...people, ...leaving]);
  }

  forget() {
    clearTimeout(this.timer);
    this.people = null;
    this.at = 0;
  }

  take(people) {
    const before = this.people;
    this.people = people.sort((one, other) => one.name.localeCompare(other.name));
    if (before) this.tellDifference(before, people);
    this.onPeople(people);
  }

  tellDifference(before, after) {
    for (const person of after) {
      if (person.id === this.me.id) continue;
      const earlier = before.find((other) => other.id === person.id);
      if (!earlier) this.onArrival({ who: person.name, text: "came" });
      for (const pk of Object.keys(person.edits)) {
        if (!earlier?.edits[pk]) this.onArrival({ who: person.name, text: "is editing", document: Number(pk) });
      }
      for (const pk of Object.keys(person.reads)) {
        const known = earlier && (earlier.reads[pk] || earlier.edits[pk]);
        if (!known) this.onArrival({ who: person.name, text: "is reading", document: Number(pk) });
      }
    }
    for (const person of before) {
      if (!after.some((other) => other.id === person.id)) this.onArrival({ who: person.name, text: "left" });
    }
  }
}
