// Required into the Node process behind the CDK (see node.py). The provider's index.js loads all of its 1,400 modules;
// here each export becomes a property that loads its module on first use.
"use strict";

const Module = require("node:module");

const INDEX = /[\\/]@(cdktf|cdktn)[\\/]provider-aws[\\/]lib[\\/]index\.js$/;
// cdktf's package has `require("./x")`, CDK Terrain's `__importStar(require("./x"))`, which copies what it loads.
const EXPORT = /^exports\.(\w+) = (?:__importStar\()?require\("(\.\/[\w-]+)"\)\)?;$/gm;
const ON_DEMAND =
  'Object.defineProperty(exports, "$1", { enumerable: true, configurable: true, get: () => require("$2") });';

const compile = Module.prototype._compile;
Module.prototype._compile = function (source, file, ...rest) {
  const text = INDEX.test(file) ? source.replace(EXPORT, ON_DEMAND) : source;
  return compile.call(this, text, file, ...rest);
};
