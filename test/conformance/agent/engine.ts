import { type Json, list, object } from '../kit/index.ts';

/** What a job came to: the lines of a stream (none when it was not streamed) and the output as §5 builds it. */
export interface Answer {
  readonly lines: readonly string[];
  readonly output: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** A fake engine: it says what it is, word by word, in the shape of OpenAI's answers. No model computes anything. */
export const fakeAnswer = (offer: Json, words = 12): Answer => {
  const request = object(offer.request);
  const said = Array.from({ length: words }, (_, n) => `${n === 0 ? 'fake' : ` engine-${n}`}`);
  const [promptTokens, completionTokens] = [7, offer.kind === 'embeddings' ? 0 : words];
  const usage = {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
  const about = { id: `fake-${offer.jobId}`, created: 1_795_255_200, model: offer.model };
  const counts = { promptTokens, completionTokens };
  if (offer.kind === 'embeddings') {
    const data = [{ object: 'embedding', index: 0, embedding: [0.25, -0.5] }];
    return { lines: [], output: JSON.stringify({ ...about, object: 'list', data, usage }), ...counts };
  }
  const chat = offer.kind === 'chat.completions';
  if (offer.stream !== true) {
    const text = said.join('');
    const choice = chat ? { message: { role: 'assistant', content: text } } : { text };
    const choices = [{ index: 0, ...choice, finish_reason: 'stop' }];
    const kind = chat ? 'chat.completion' : 'text_completion';
    return { lines: [], output: JSON.stringify({ ...about, object: kind, choices, usage }), ...counts };
  }
  const kind = chat ? 'chat.completion.chunk' : 'text_completion';
  const lines = said.map((text, n) => {
    const choice = chat ? { delta: { content: text } } : { text };
    const choices = [{ index: 0, ...choice, finish_reason: n === words - 1 ? 'stop' : null }];
    return JSON.stringify({ ...about, object: kind, choices });
  });
  if (object(request.stream_options).include_usage === true)
    lines.push(JSON.stringify({ ...about, object: kind, choices: list([]), usage }));
  return { lines, output: lines.join('\n'), ...counts };
};
