import { expect } from 'chai';
import { FORBIDDEN_ENDINGS, pathProblem } from './model-digest.ts';

describe('the paths of a model', () => {
  it('takes no file whose format may carry code, in any case of letters', () => {
    expect(FORBIDDEN_ENDINGS).to.include.members(['.py', '.pkl', '.pickle', '.pt', '.pth', '.bin', '.ckpt', '.so']);
    for (const ending of FORBIDDEN_ENDINGS)
      for (const path of [`model${ending}`, `sub/MODEL${ending.toUpperCase()}`])
        expect(pathProblem(path), path).to.contain('may carry code');
    for (const path of ['model.safetensors', 'config.json', 'tokenizer.model', 'sub/merges.txt'])
      expect(pathProblem(path), path).to.equal(undefined);
  });
});
