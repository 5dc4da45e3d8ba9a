// Built from src/api.ts, sha256 a26dbfab7899b3e19039724ad0b18ce83dd8ba22160c8b4f39ed45cc1c3c17e7; change that, then run: make page
// Requests to /api/v1; a refusal becomes a `Refusal` with the server's own words.
const ANSWER_WITHIN_MS = 5000;
export class Refusal extends Error {
    problem;
    constructor(problem) {
        super(problem.mend ? `${problem.detail} (${problem.mend})` : problem.detail);
        this.problem = problem;
    }
}
export async function request(method, resource, body, withinMs = ANSWER_WITHIN_MS) {
    const init = { method, signal: AbortSignal.timeout(withinMs) };
    if (body instanceof FormData)
        init.body = body;
    else if (body !== undefined) {
        init.headers = { "Content-Type": "application/json" };
        init.body = JSON.stringify(body);
    }
    const answer = await fetch(`/api/v1${resource}`, init);
    if (!answer.ok) {
        const problem = (await answer.json().catch(() => ({ detail: `HTTP ${answer.status}` })));
        throw new Refusal(problem);
    }
    return (answer.status === 204 ? undefined : await answer.json());
}
export function asProblem(error) {
    return error instanceof Refusal ? { ...error.problem, detail: error.message } : { detail: String(error) };
}
