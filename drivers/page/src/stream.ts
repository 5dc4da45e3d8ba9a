// The live stream: state and picture messages in, acknowledgements out; says when nothing comes any more.

import type { LiveState, PictureHeader } from "./types.js";

const LOST_AFTER_MS = 1000; // the server says its state four times a second
const LOOK_EVERY_MS = 100;
const RETRY_MS = 1000;

export interface Listener {
  state(state: LiveState): void;
  picture(header: PictureHeader, jpeg: Blob): Promise<void>;
  connection(connected: boolean, silentMs: number): void;
}

export class Stream {
  private socket: WebSocket | null = null;
  private lastMessage = performance.now();
  private connected = false;

  constructor(private readonly listener: Listener) {
    this.open();
    setInterval(() => this.look(), LOOK_EVERY_MS);
  }

  private open(): void {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/v1/stream?ack=1`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => void this.take(socket, event.data as string | ArrayBuffer);
    socket.onclose = () => {
      if (this.socket === socket) setTimeout(() => this.open(), RETRY_MS);
    };
    this.socket = socket;
  }

  private async take(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    this.lastMessage = performance.now();
    this.look();
    if (typeof message === "string") {
      this.listener.state(JSON.parse(message) as LiveState);
      return;
    }
    const length = new DataView(message).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length))) as PictureHeader;
    try {
      await this.listener.picture(header, new Blob([new Uint8Array(message, 4 + length)], { type: "image/jpeg" }));
    } finally {
      // Only now may the next frame come: a slow page then loses frames instead of falling behind.
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ack: header.sequence }));
    }
  }

  private look(): void {
    const silentMs = performance.now() - this.lastMessage;
    const connected = silentMs < LOST_AFTER_MS;
    if (connected !== this.connected || !connected) this.listener.connection(connected, silentMs);
    // A half-open connection never closes by itself.
    if (!connected && silentMs > 5 * LOST_AFTER_MS && this.socket?.readyState === WebSocket.OPEN) this.socket.close();
    this.connected = connected;
  }
}
