// Figures of all processes together, from two snapshots: rates and quantiles of the time between them. No DOM here.
"use strict";

const Figures = (() => {
  const EMPTY = { counts: [], sum: 0 };

  function numberOf(table) {
    return Object.values(table || {}).reduce((sum, value) => sum + value, 0);
  }

  // What was counted between two snapshots. A process that was not there before began at zero while somebody looked.
  function grown(now, before) {
    return Math.max(0, (now || 0) - (before || 0));
  }

  function histogramGrown(now, before) {
    const then = before || EMPTY;
    return {
      counts: ((now || EMPTY).counts || []).map((count, at) => grown(count, (then.counts || [])[at])),
      sum: grown((now || EMPTY).sum, then.sum),
    };
  }

  function add(into, histogram) {
    histogram.counts.forEach((count, at) => { into.counts[at] = (into.counts[at] || 0) + count; });
    into.sum += histogram.sum;
  }

  // Seconds below which a share of all durations lay: within its range they are taken to be spread evenly.
  function quantile(histogram, share, bounds) {
    const total = numberOf(histogram.counts);
    if (!total) return null;
    let rest = share * total;
    for (let at = 0; at < histogram.counts.length; at += 1) {
      const count = histogram.counts[at];
      if (rest <= count && count) {
        const low = at ? bounds[at - 1] : 0;
        const high = at < bounds.length ? bounds[at] : low;
        return low + (high - low) * (rest / count);
      }
      rest -= count;
    }
    return bounds[bounds.length - 1];
  }

  function named(table, name, make) {
    if (!table.has(name)) table.set(name, make());
    return table.get(name);
  }

  const newChannel = () => ({ done: 0, failed: 0, dropped: 0, waited: { counts: [], sum: 0 }, listening: 0 });
  const newConsumer = () => ({ runs: 0, failed: 0, all: 0, seconds: { counts: [], sum: 0 } });

  // Everything the page shows of two snapshots that lie so many seconds apart.
  function compare(now, before, seconds, bounds) {
    const old = new Map(((before && before.processes) || []).map((process) => [process.name, process]));
    const result = {
      sockets: 0, frames: 0, requests: 0, deliveries: 0, errors: 0, lost: 0,
      turns: { counts: [], sum: 0 }, waits: { counts: [], sum: 0 },
      channels: new Map(), consumers: new Map(), paths: new Map(), ends: new Map(), recent: [],
    };
    for (const process of now.processes) {
      const last = old.get(process.name) || (before ? {} : process);
      const alive = process.verdict === "running" || process.verdict === "draining";
      const lostNow = { ...(process.lost || {}), ...((process.layer || {}).lost || {}) };
      const lostBefore = { ...(last.lost || {}), ...((last.layer || {}).lost || {}) };
      for (const [reason, count] of Object.entries(lostNow)) {
        if (count) named(result.ends, reason, () => ({ lost: true, count: 0 })).count += count;
      }
      result.lost += grown(numberOf(lostNow), numberOf(lostBefore));
      if (process.kind === "web") {
        if (alive) {
          for (const [path, count] of Object.entries(process.sockets || {})) {
            result.sockets += count;
            result.paths.set(path, (result.paths.get(path) || 0) + count);
          }
        }
        for (const [cause, count] of Object.entries(process.closes || {})) {
          named(result.ends, `closed: ${cause}`, () => ({ lost: false, count: 0 })).count += count;
        }
        result.frames += grown(process.frames, last.frames);
        result.deliveries += grown(process.deliveries, last.deliveries);
        result.requests += grown(numberOf(process.requests), numberOf(last.requests));
        add(result.turns, histogramGrown(process.turn_seconds, last.turn_seconds));
        continue;
      }
      for (const channel of alive ? process.channels || [] : []) {
        named(result.channels, channel, newChannel).listening += 1;
      }
      for (const [name, outcomes] of Object.entries(process.messages || {})) {
        const channel = named(result.channels, name, newChannel);
        const was = (last.messages || {})[name] || {};
        channel.done += grown(numberOf(outcomes), numberOf(was));
        channel.failed += outcomes.failed || 0;
        channel.dropped += outcomes.dropped || 0;
      }
      for (const [name, histogram] of Object.entries(process.waited || {})) {
        const between = histogramGrown(histogram, (last.waited || {})[name]);
        add(named(result.channels, name, newChannel).waited, between);
        add(result.waits, between);
      }
      for (const [name, facts] of Object.entries(process.consumers || {})) {
        const consumer = named(result.consumers, name, newConsumer);
        const was = (last.consumers || {})[name] || { outcomes: {} };
        consumer.runs += grown(numberOf(facts.outcomes), numberOf(was.outcomes));
        consumer.all += numberOf(facts.outcomes);
        consumer.failed += (facts.outcomes || {}).failed || 0;
        add(consumer.seconds, histogramGrown(facts.seconds, was.seconds));
      }
      result.errors += grown(numberOf(process.errors_count), numberOf(last.errors_count));
      for (const error of process.errors || []) result.recent.push({ ...error, process: process.name });
    }
    for (const rate of ["frames", "requests", "deliveries"]) result[rate] /= seconds;
    result.turn95 = quantile(result.turns, 0.95, bounds);
    result.wait95 = quantile(result.waits, 0.95, bounds);
    result.recent.sort((one, other) => other.at - one.at);
    return result;
  }

  return { compare, quantile, histogramGrown, numberOf };
})();

if (typeof module !== "undefined") module.exports = Figures;
