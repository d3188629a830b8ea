// SPDX-License-Identifier: MIT
// A reporter for node's test runner: one line of TAP for each test, without nesting, as automake's driver counts them.
export default async function* tap(source) {
  let number = 0;
  for await (const { type, data } of source) {
    if ((type !== 'test:pass' && type !== 'test:fail') || data.details.type === 'suite')
      continue;
    const name = data.name.replace(/#/g, '');
    const skip = data.skip === undefined || data.skip === false ? '' : ` # SKIP ${data.skip}`;
    yield `${type === 'test:pass' ? '' : 'not '}ok ${++number} - ${name}${skip}\n`;
    if (type === 'test:fail') {
      const { error } = data.details;
      yield `${error.cause?.stack ?? error.cause ?? error.stack}\n`.replace(/^/gm, '# ').replace(/# $/, '');
    }
  }
  yield `1..${number}\n`;
}
