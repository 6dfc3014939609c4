#!/usr/bin/env -S node --max-semi-space-size=2 --initial-old-space-size=48
'use strict'

// The small nursery above: V8 would otherwise let garbage grow to more than all the rest before it looks. Its old space begins at what it
// comes to need: from less, V8 collects all of it again and again while uploads are under way.
//
// A CommonJS file, because Node reads the size of its thread pool at the pool's first use and loading an ES module is
// one: set from main.js it would be too late. Eight, because an fsync or a hash holds a thread for as long as it takes.
if (!process.env.UV_THREADPOOL_SIZE) process.env.UV_THREADPOOL_SIZE = '8'

require('./require-node.cjs')

import('../dist/main.js')
