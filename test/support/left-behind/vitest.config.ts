import { mergeConfig } from 'vitest/config'
import config from '../../../vitest.config.ts'

/** The tests of this folder, which go wrong on purpose; see ../ends.test.ts. */
const { test, ...rest } = config
// biome-ignore lint/style/noDefaultExport: Vitest takes its configuration from the default export.
export default mergeConfig(
  { ...rest, test: { ...test, include: [] } },
  { test: { include: ['test/support/left-behind/{wrong,killed,waits}.ts'] } },
)
