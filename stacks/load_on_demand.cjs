// Required into the Node process behind cdktf (see node.py). The provider's index.js loads all of its
// 1,400 modules; here each becomes a property that loads its module when a class of it is first made.
"use strict";

const Module = require("node:module");

const INDEX = /[\\/]@cdktf[\\/]provider-aws[\\/]lib[\\/]index\.js$/;
const EXPORT = /^exports\.(\w+) = require\("(\.\/[\w-]+)"\);$/gm;
const ON_DEMAND =
  'Object.defineProperty(exports, "$1", { enumerable: true, configurable: true, get: () => require("$2") });';

const compile = Module.prototype._compile;
Module.prototype._compile = function (source, file, ...rest) {
  const text = INDEX.test(file) ? source.replace(EXPORT, ON_DEMAND) : source;
  return compile.call(this, text, file, ...rest);
};
