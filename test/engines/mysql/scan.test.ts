import { describe, expect, it } from '@jest/globals';
import { DumpScanner, type DumpTable } from '../../../src/engines/mysql/scan.js';

const END = '\n-- Dump completed\n';
const TABLE = 'CREATE TABLE `t` (\n  `a` int(11) NOT NULL\n) ENGINE=InnoDB AUTO_INCREMENT=4;\n';

/** Scans a dump in chunks of so many bytes. */
function scan(text: string, step = 1 << 20): { tables: DumpTable[]; pieces: [string, string][] } {
  const pieces: [string, string][] = [];
  const scanner = new DumpScanner((kind, bytes) => pieces.push([kind, bytes.toString()]));
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += step) scanner.push(bytes.subarray(at, at + step));
  return { tables: scanner.end(), pieces };
}
const rowsOf = (text: string, step?: number) => scan(text + END, step).tables.map(({ rows }) => rows);

describe('The scan of a dump', () => {
  it.each([
    ['several in a statement', 'INSERT INTO `t` VALUES (1),(2),(3);', 3],
    ['one on each line', 'INSERT INTO `t` VALUES\n(1),\n(2);\nINSERT INTO `t` VALUES\n(3);', 3],
    ['with columns that are named', 'INSERT INTO `t` (`a(b`, `VALUES`) VALUES (1,2),(3,4);', 2],
    ['with parentheses and ends in texts', `INSERT INTO \`t\` VALUES ('),(;'),('\\'),('),("\\\\");`, 3],
    ['with doubled quotes', `INSERT INTO \`t\` VALUES ('a''),('),('b');`, 2],
    ['with line ends and comments in texts', `INSERT INTO \`t\` VALUES ('\n-- Dump completed\n'),('/*');`, 2],
    ['with binary values', `INSERT INTO \`t\` VALUES (0x00FF,_binary 'x(');`, 1],
  ])('counts rows %s, in chunks of any size', (_, insert, rows) => {
    for (const step of [1, 3, 1_000]) expect(rowsOf(`${TABLE}${insert}`, step)).toEqual([rows]);
  });

  it('lists tables with their references, and the same hash whatever the next number is', () => {
    const other = 'CREATE TABLE `o``x` (\n  CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `t` (`a`)\n);\n';
    const { tables } = scan(`${TABLE}${other}${END}`);
    expect(tables).toMatchObject([
      { name: 'o`x', rows: 0, references: ['t'] },
      { name: 't', rows: 0, references: [] },
    ]);
    expect(scan(TABLE.replace('=4', '=99') + END).tables).toEqual([tables[1]]);
  });

  it('takes the name of the dumped database out of statements that would reach it', () => {
    const dump = [
      'ALTER DATABASE `live` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ;',
      'DELIMITER ;;',
      '/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`%`*/ /*!50003 TRIGGER live.tr BEFORE INSERT ON `live`.t FOR EACH ROW SET @x=1 */;;',
      'DELIMITER ;',
    ].join('\n');
    const said = scan(dump + END).pieces.map(([, text]) => text);
    expect(said.join('')).not.toContain('live');
    expect(said.join('')).toContain('TRIGGER tr BEFORE INSERT ON t FOR');
  });

  it('tells events from other objects, and does not look into bodies', () => {
    const dump = "DELIMITER ;;\nCREATE DEFINER=`a`@`%` PROCEDURE `p`()\nBEGIN SELECT ';'; DROP DATABASE x; END ;;\n";
    const event =
      '/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`%`*/ /*!50106 EVENT `e` ON SCHEDULE EVERY 1 DAY DO SELECT 1 */ ;;\n';
    const kinds = scan(`${dump}${event}DELIMITER ;\n${END}`).pieces.map(([kind]) => kind);
    expect(kinds).toEqual(['setting', 'object', 'event', 'setting']);
  });

  it.each([
    'USE `other`;',
    'CREATE DATABASE `other`;',
    '/*!40000 DROP DATABASE IF EXISTS `other`*/;',
    'DROP DATABASE other;',
    'CREATE TABLE `other`.`t` (x int);',
    'DROP TABLE IF EXISTS `other`.`t`;',
    'DROP VIEW IF EXISTS `other`.`v`;',
    'INSERT INTO `unknown` VALUES (1);',
    'INSERT INTO `t`.`u` VALUES (1);',
    'REPLACE INTO `t` VALUES (1);',
    'LOAD DATA LOCAL INFILE "/etc/passwd" INTO TABLE t;',
    'SET GLOBAL general_log = 1;',
    'SET @x = 1, GLOBAL general_log = 1;',
    "SET PASSWORD = 'x';",
    'GRANT ALL PRIVILEGES ON *.* TO a;',
    "CREATE USER a IDENTIFIED BY 'b';",
    'system rm -rf /;',
    '\\! id\n;',
    'source /etc/passwd;',
    'DELIMITER $$\nSELECT 1 $$',
    '/* hidden */ DROP DATABASE x;',
    'UPDATE t SET a = 1;',
  ])('refuses what mysqldump does not write: %s', (statement) => {
    for (const step of [1, 1_000]) {
      expect(() => scan(`${TABLE}${statement}\n${END}`, step)).toThrow(
        expect.objectContaining({ code: 'DATABASE_WRONG_KIND' }),
      );
    }
  });

  it.each(['', TABLE, `${TABLE}INSERT INTO \`t\` VALUES (1),(`, `${TABLE}${END}UNLOCK TABLES;\n`])(
    'refuses a dump without its end: %j',
    (dump) => expect(() => scan(dump)).toThrow(expect.objectContaining({ code: 'DATABASE_CORRUPT' })),
  );
});
