// Mocha's dot reporter that also leaves its totals, as JSON, in the file named by RESULTITY_TEST_TOTALS.
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class extends reporters.Dot {
  constructor(runner, options) {
    super(runner, options);
    const skipped = [];
    runner.on('pending', (test) => skipped.push(test.fullTitle()));
    runner.on('end', () => {
      const { passes, failures, pending } = this.stats;
      writeFileSync(process.env.RESULTITY_TEST_TOTALS, JSON.stringify({ passes, failures, pending, skipped }));
    });
  }
};
