'use strict'

// The `iclood` command of a clone: the program itself, in this process, so that its signals and exit code are its own.

const { prepare } = require('./prepare.cjs')

prepare({ tests: false }).then(() => require('../bin/iclood.cjs'))
