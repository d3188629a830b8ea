// SPDX-License-Identifier: MIT
// Emscripten's programs have an environment of their own: the tests' variables come from outside all the same.
Module['preRun'] = function () {
  if (typeof ENV === 'undefined' || typeof process === 'undefined')
    return;
  for (const name of Object.keys(process.env)) {
    if (name.startsWith('TEST_') || name.startsWith('MEMPOOL_'))
      ENV[name] = process.env[name];
  }
};
