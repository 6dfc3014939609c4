'use strict'

const { prepare } = require('./prepare.cjs')

prepare({ tests: false })
