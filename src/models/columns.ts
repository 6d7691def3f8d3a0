import { DataTypes, type Model } from 'sequelize';

/** A column of bytes, exact to 2^53: PostgreSQL's driver gives such numbers as text. */
export function bytes<Row extends Model>(name: keyof Row & string) {
  return {
    type: DataTypes.BIGINT,
    get(this: Row): number | null {
      const value: unknown = this.getDataValue(name);
      return value === null || value === undefined ? null : Number(value);
    },
  };
}
