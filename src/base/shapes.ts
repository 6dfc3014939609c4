import Type from 'typebox'

/** Shapes that answers of several rooms share. */

export const Nullable = <Schema extends Type.TSchema>(schema: Schema) => Type.Union([schema, Type.Null()])

export const Timestamp = Type.String({ format: 'date-time', description: 'ISO 8601, in UTC (ends in Z)' })
