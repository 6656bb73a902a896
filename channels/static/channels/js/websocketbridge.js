/* WebSocketBridge: JSON messages, and streams of them, over a WebSocket that comes back by itself.
 *
 * A plain script gets the global `channels`, CommonJS gets it as the module's exports, and an ES module
 * that imports this file finds `globalThis.channels`. No dependencies; what it needs of the language and
 * of the platform every browser has had since 2020.
 */
(function (root, factory) {
  "use strict";
  const api = factory();
  if (typeof module === "object" && module.exports) module.exports = api;
  else root.channels = api;
})(typeof globalThis === "object" ? globalThis : self, function () {
  "use strict";

  const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;

  const DEFAULTS = {
    constructor: null, // what to use in place of the global WebSocket
    minReconnectionDelay: 1500,
    maxReconnectionDelay: 10000,
    reconnectionDelayGrowFactor: 1.3,
    connectionTimeout: 4000, // for one attempt; all times are milliseconds
    maxRetries: Infinity, // failed attempts in a row
    maxQueuedMessages: 0, // sent while there is no connection; beyond it send() throws
    debug: false,
  };

  // A WebSocket that connects again when it was closed, unless it was closed with {keepClosed: true}.
  // Listeners and on… handlers stay; properties are those of the connection there is now.
  class ReconnectingWebSocket extends EventTarget {
    constructor(url, protocols, options) {
      super();
      this._options = Object.assign({}, DEFAULTS);
      for (const name of Object.keys(DEFAULTS)) {
        if (options && Object.prototype.hasOwnProperty.call(options, name)) this._options[name] = options[name];
      }
      this._make = this._options.constructor || (typeof WebSocket === "function" ? WebSocket : null);
      if (typeof this._make !== "function") throw new TypeError("there is no WebSocket here; set options.constructor");
      this._url = url;
      this._protocols = protocols;
      this._binaryType = null;
      this._queue = [];
      this._failures = 0;
      this._nextDelay = 0;
      this._keepClosed = false;
      this._lost = false; // whether the connection is gone and another not yet begun
      this._waiting = null; // the timer of the next attempt
      this._deadline = null; // the timer of this one
      this.onopen = this.onmessage = this.onclose = this.onerror = null;
      // The network is back: no reason to wait any longer. Registered once, for as long as the page lives.
      if (typeof addEventListener === "function") {
        addEventListener("online", () => {
          if (this._waiting !== null) this._connect();
        });
      }
      this._connect();
    }

    get readyState() { return this._socket.readyState; }
    get url() { return this._socket.url; }
    get protocol() { return this._socket.protocol; }
    get extensions() { return this._socket.extensions; }
    get bufferedAmount() { return this._socket.bufferedAmount; }
    get binaryType() { return this._socket.binaryType; }
    set binaryType(type) {
      this._binaryType = type;
      this._socket.binaryType = type;
    }

    send(data) {
      if (this._socket.readyState === OPEN) {
        this._socket.send(data);
      } else if (!this._keepClosed && this._queue.length < this._options.maxQueuedMessages) {
        this._queue.push(data);
      } else {
        throw new DOMException("the WebSocket is not connected; the message was not sent", "InvalidStateError");
      }
    }

    // fastClose tells the listeners at once instead of waiting for the other side, which may be gone.
    close(code = 1000, reason = "", { keepClosed = false, fastClose = true, delay = 0 } = {}) {
      const socket = this._socket;
      if (!this._lost) socket.close(code, reason);
      this._keepClosed = keepClosed;
      this._nextDelay = delay;
      if (keepClosed) {
        this._stopWaiting();
        this._queue.length = 0;
      }
      if (fastClose) this._onClose(socket, new CloseEvent("close", { code, reason, wasClean: true }));
    }

    _connect() {
      this._stopWaiting();
      this._lost = false;
      const Constructor = this._make;
      const socket = this._protocols === undefined ? new Constructor(this._url) : new Constructor(this._url, this._protocols);
      this._socket = socket;
      if (this._binaryType !== null) socket.binaryType = this._binaryType;
      this._log("connecting to", this._url);
      this._deadline = setTimeout(() => this._onTimeout(socket), this._options.connectionTimeout);
      socket.onopen = () => this._onOpen(socket);
      socket.onmessage = (event) => {
        const { data, origin, lastEventId } = event;
        this._tell(new MessageEvent("message", { data, origin, lastEventId }));
      };
      socket.onerror = () => this._tell(new Event("error"));
      socket.onclose = (event) => {
        const { code, reason, wasClean } = event;
        this._onClose(socket, new CloseEvent("close", { code, reason, wasClean }));
      };
    }

    _onOpen(socket) {
      clearTimeout(this._deadline);
      this._failures = 0;
      this._log("open");
      try {
        this._tell(new Event("open"));
      } finally {
        while (this._queue.length && socket.readyState === OPEN) socket.send(this._queue.shift());
      }
    }

    _onTimeout(socket) {
      this._log("no connection in time");
      this._fail("ETIMEDOUT", "Connection timeout");
      socket.close();
      this._onClose(socket, new CloseEvent("close", { code: 1006 }));
    }

    _onClose(socket, event) {
      if (socket !== this._socket || this._lost) return; // it was given up already
      this._lost = true;
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      clearTimeout(this._deadline);
      this._log("closed", event.code, event.reason);
      // A server that hands its clients over to the next one spreads them itself, and says when to come.
      const hint = event.code === 1012 && /\breconnect=(\d{1,5})\b/.exec(event.reason);
      if (hint) this._nextDelay = Math.max(1, Number(hint[1]));
      this._failures += 1;
      const retries = this._failures <= this._options.maxRetries;
      if (retries && !this._keepClosed) {
        const delay = this._delay();
        this._log("next attempt in", delay);
        this._waiting = setTimeout(() => this._connect(), delay);
      }
      this._tell(event);
      if (!retries) this._fail("EHOSTDOWN", "Too many failed connection attempts");
    }

    // Anywhere between the least delay and a bound that grows: when a server restarts, its pages do not all come at once.
    _delay() {
      const { minReconnectionDelay: least, maxReconnectionDelay: most, reconnectionDelayGrowFactor: factor } = this._options;
      const asked = this._nextDelay;
      this._nextDelay = 0;
      if (asked) return asked;
      const bound = Math.min(most, 2 * least * factor ** (this._failures - 1));
      return Math.min(most, least + Math.random() * Math.max(0, bound - least));
    }

    _stopWaiting() {
      clearTimeout(this._waiting);
      this._waiting = null;
    }

    _fail(code, message) {
      this._tell(Object.assign(new Event("error"), { code, message }));
    }

    _tell(event) {
      this.dispatchEvent(event);
      const handler = this["on" + event.type];
      if (typeof handler === "function") handler.call(this, event);
    }

    _log(...words) {
      if (this._options.debug) console.log("WebSocketBridge:", ...words);
    }
  }

  Object.assign(ReconnectingWebSocket, { CONNECTING, OPEN, CLOSING, CLOSED });
  Object.assign(ReconnectingWebSocket.prototype, { CONNECTING, OPEN, CLOSING, CLOSED });

  class WebSocketBridge {
    // options: for connect() calls that give none.
    constructor(options) {
      this.socket = null;
      this.streams = {};
      this.default_cb = null;
      this.options = Object.assign({}, options);
      this._listening = false;
    }

    // url: absolute, or relative to this page; without one, the root of its host. An earlier connection is closed.
    connect(url, protocols, options) {
      if (this.socket !== null) this.socket.close(1000, "", { keepClosed: true });
      this.socket = new ReconnectingWebSocket(address(url), protocols, options === undefined ? this.options : options);
      if (this._listening) this._attach();
    }

    // Begin to hand out messages. callback(action, stream) gets those of no stream: stream is null then.
    listen(callback) {
      this.default_cb = callback;
      this._listening = true;
      if (this.socket !== null) this._attach();
    }

    // callback(action, stream) gets the messages of this stream.
    demultiplex(stream, callback) {
      this.streams[stream] = callback;
    }

    send(message) {
      this._send(message);
    }

    // An object whose send() sends to this stream.
    stream(name) {
      return { send: (action) => this._send({ stream: name, payload: action }) };
    }

    _send(message) {
      if (this.socket === null) throw new Error("WebSocketBridge: call connect() before send()");
      this.socket.send(JSON.stringify(message));
    }

    _attach() {
      this.socket.onmessage = (event) => this._receive(event.data);
    }

    _receive(data) {
      let message;
      try {
        message = JSON.parse(data);
      } catch (error) {
        console.error("WebSocketBridge: a message that is not JSON was ignored:", data);
        return;
      }
      const inStream = message !== null && typeof message === "object" && message.stream !== undefined;
      const stream = inStream ? message.stream : null;
      const own = Object.prototype.hasOwnProperty.call(this.streams, stream) ? this.streams[stream] : null;
      const callback = inStream ? own : this.default_cb;
      if (callback) callback(inStream ? message.payload : message, stream);
    }
  }

  function address(url) {
    const found = new URL(url === undefined || url === null ? "/" : url, location.href);
    found.protocol = found.protocol.replace(/^http/, "ws");
    found.hash = "";
    return found.href;
  }

  return { WebSocketBridge };
});
