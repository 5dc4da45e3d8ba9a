// Built from src/stream.ts, sha256 a2d49e79c442370a90d456e63e1db9c06130876a4b362c8298d6baadf13b71a2; change that, then run: make page
// The live stream: state and picture messages in, acknowledgements out; says when nothing comes any more.
const LOST_AFTER_MS = 1000; // the server says its state four times a second
const LOOK_EVERY_MS = 100;
const RETRY_MS = 1000;
export class Stream {
    listener;
    socket = null;
    lastMessage = performance.now();
    connected = false;
    constructor(listener) {
        this.listener = listener;
        this.open();
        setInterval(() => this.look(), LOOK_EVERY_MS);
    }
    open() {
        const scheme = location.protocol === "https:" ? "wss" : "ws";
        const socket = new WebSocket(`${scheme}://${location.host}/api/v1/stream?ack=1`);
        socket.binaryType = "arraybuffer";
        socket.onmessage = (event) => void this.take(socket, event.data);
        socket.onclose = () => {
            if (this.socket === socket)
                setTimeout(() => this.open(), RETRY_MS);
        };
        this.socket = socket;
    }
    async take(socket, message) {
        this.lastMessage = performance.now();
        this.look();
        if (typeof message === "string") {
            this.listener.state(JSON.parse(message));
            return;
        }
        const length = new DataView(message).getUint32(0, true);
        const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
        try {
            await this.listener.picture(header, new Blob([new Uint8Array(message, 4 + length)], { type: "image/jpeg" }));
        }
        finally {
            // Only now may the next frame come: a slow page then loses frames instead of falling behind.
            if (socket.readyState === WebSocket.OPEN)
                socket.send(JSON.stringify({ ack: header.sequence }));
        }
    }
    look() {
        const silentMs = performance.now() - this.lastMessage;
        const connected = silentMs < LOST_AFTER_MS;
        if (connected !== this.connected || !connected)
            this.listener.connection(connected, silentMs);
        // A half-open connection never closes by itself.
        if (!connected && silentMs > 5 * LOST_AFTER_MS && this.socket?.readyState === WebSocket.OPEN)
            this.socket.close();
        this.connected = connected;
    }
}
