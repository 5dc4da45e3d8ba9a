// Built from src/api.ts, sha256 7f9135676e62173fc151c8ea5c3994181751843b96212c7a900e0ec8827ecc86; change that, then run: make page
// Requests to /api/v1; a refusal becomes a `Refusal` with the server's own words.
const ANSWER_WITHIN_MS = 5000;
export class Refusal extends Error {
    problem;
    constructor(problem) {
        super(problem.mend ? `${problem.detail} (${problem.mend})` : problem.detail);
        this.problem = problem;
    }
}
export async function request(method, resource, body) {
    const init = { method, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) };
    if (body !== undefined) {
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
