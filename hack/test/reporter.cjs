// Mocha's dot reporter that also leaves its totals and what failed, as JSON, in the file named by RESULTITY_TEST_TOTALS.
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class extends reporters.Dot {
  constructor(runner, options) {
    super(runner, options);
    const skipped = [];
    const broken = [];
    runner.on('pending', (test) => skipped.push(test.fullTitle()));
    runner.on('fail', (test, error) => broken.push(`${test.fullTitle()}: ${error.message}`));
    runner.on('end', () => {
      const { passes, failures } = this.stats;
      writeFileSync(process.env.RESULTITY_TEST_TOTALS, JSON.stringify({ passes, failures, skipped, broken }));
    });
  }
};
