import { expect } from 'chai';
import { countOutput } from './tokens.ts';

const line = (content: string, over: object = {}): string =>
  JSON.stringify({ choices: [{ index: 0, delta: { content } }], ...over });
const answer = (content: string, usage?: object): string =>
  JSON.stringify({ choices: [{ index: 0, message: { role: '', content } }], ...(usage ? { usage } : {}) });

describe('counting an output', () => {
  it('takes the usage that the caller is shown, streamed or not', () => {
    const usage = { prompt_tokens: 7, completion_tokens: 3 };
    expect(countOutput('chat.completions', false, answer('Paris', usage))).to.deep.equal({ completion: 3, prompt: 7 });
    const stream = [line('Par'), line('is'), line('', { choices: [], usage })].join('\n');
    expect(countOutput('chat.completions', true, stream)).to.deep.equal({ completion: 3, prompt: 7 });
  });
  it('lets no usage stand that the text cannot hold', () => {
    const { completion } = countOutput('chat.completions', false, answer('Paris', { completion_tokens: 1_000 }));
    expect(completion).to.be.within(5, 5 + 16);
  });
  it('allows several tokens in one line, as engines send them under load', () => {
    expect(
      countOutput('completions', true, JSON.stringify({ choices: [{ text: 'a b c d e f' }] })).completion,
    ).to.be.least(11);
  });
  it('counts each choice, tool calls and reasoning', () => {
    const two = JSON.stringify({
      choices: [
        { index: 0, text: 'abc' },
        { index: 1, text: 'abc' },
      ],
    });
    expect(countOutput('completions', false, two).completion).to.equal(6 + 32);
    const called = line('', {
      choices: [{ index: 0, delta: { reasoning: 'ab', tool_calls: [{ function: { arguments: '{}' } }] } }],
    });
    expect(countOutput('chat.completions', true, called).completion).to.equal(4 + 64 + 16);
  });
  it('counts nothing of embeddings but the prompt, and nothing of what is no answer', () => {
    expect(countOutput('embeddings', false, JSON.stringify({ data: [], usage: { prompt_tokens: 4 } }))).to.deep.equal({
      completion: 0,
      prompt: 4,
    });
    for (const output of [
      '',
      'no JSON',
      '[]',
      'null',
      '{"choices":[null]}',
      '{"choices":{}}',
      '{"usage":{"completion_tokens":-1}}',
    ])
      expect(countOutput('chat.completions', false, output).completion, output).to.be.most(16);
  });
});
