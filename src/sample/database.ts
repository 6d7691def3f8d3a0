import sqlite3 from 'sqlite3';

const SCHEMA = `
CREATE TABLE django_migrations (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, app varchar(255) NOT NULL,
  name varchar(255) NOT NULL, applied datetime NOT NULL);
CREATE TABLE auth_user (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, password varchar(128) NOT NULL,
  last_login datetime NULL, is_superuser bool NOT NULL, username varchar(150) NOT NULL UNIQUE,
  first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL,
  is_staff bool NOT NULL, is_active bool NOT NULL, date_joined datetime NOT NULL);
CREATE TABLE puja_service (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, title varchar(200) NOT NULL,
  title_local varchar(200) NOT NULL, description TEXT NOT NULL, image varchar(100) NULL, duration_minutes integer unsigned
  NOT NULL CHECK (duration_minutes >= 0), price decimal NOT NULL, is_active bool NOT NULL, created_at datetime NOT NULL);
CREATE TABLE booking (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, reference varchar(20) NOT NULL UNIQUE,
  selected_date date NOT NULL, address TEXT NOT NULL, status varchar(20) NOT NULL, notes TEXT NOT NULL,
  created_at datetime NOT NULL, user_id integer NOT NULL REFERENCES auth_user (id) DEFERRABLE INITIALLY DEFERRED,
  service_id bigint NOT NULL REFERENCES puja_service (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE payment (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, transaction_id varchar(64) NOT NULL UNIQUE,
  amount decimal NOT NULL, currency varchar(3) NOT NULL, method varchar(20) NOT NULL, status varchar(20) NOT NULL,
  paid_at datetime NULL, booking_id bigint NOT NULL REFERENCES booking (id) DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX booking_user_id_idx ON booking (user_id);
CREATE INDEX booking_service_id_idx ON booking (service_id);
CREATE INDEX booking_date_status_idx ON booking (selected_date, status);
CREATE INDEX payment_booking_id_idx ON payment (booking_id);`;

const MIGRATIONS = {
  contenttypes: ['0001_initial', '0002_remove_content_type_name'],
  auth: [
    '0001_initial',
    '0002_alter_permission_name_max_length',
    '0003_alter_user_email_max_length',
    '0004_alter_user_username_opts',
    '0005_alter_user_last_login_null',
    '0006_require_contenttypes_0002',
    '0007_alter_validators_add_error_messages',
    '0008_alter_user_username_max_length',
    '0009_alter_user_last_name_max_length',
    '0010_alter_group_name_max_length',
    '0011_update_proxy_permissions',
    '0012_alter_user_first_name_max_length',
  ],
  admin: ['0001_initial', '0002_logentry_remove_auto_add', '0003_logentry_add_action_flag_choices'],
  sessions: ['0001_initial'],
  puja: ['0001_initial', '0002_service_title_local', '0003_service_image'],
  booking: ['0001_initial', '0002_booking_reference'],
  payments: ['0001_initial', '0002_payment_currency'],
};

const PEOPLE = [
  ['Ananya', 'शर्मा'],
  ['Rahul', 'वर्मा'],
  ['মৌমিতা', 'সেন'],
  ['Lakshmi', 'நாராயணன்'],
  ['Arjun', 'Patel'],
  ['প্রিয়া', 'দাস'],
  ['Zoë', "O'Brien"],
  ['宏', '田中'],
] as const;

const SERVICES = [
  ['Ganesh Puja', 'गणेश पूजा', 90, 2100],
  ['Satyanarayan Katha', 'सत्यनारायण कथा', 180, 5100],
  ['Durga Puja', 'দুর্গা পূজা', 240, 11000],
  ['Lakshmi Puja', 'लक्ष्मी पूजा', 120, 3100],
  ['Griha Pravesh', 'गृह प्रवेश', 150, 7500],
  ['Saraswati Puja', 'সরস্বতী পূজা', 90, 2500],
  ['Ayudha Puja', 'ஆயுத பூஜை', 60, 1500],
  ['Rudrabhishek', 'रुद्राभिषेक', 120, 4100],
] as const;

const STATUSES = ['CONFIRMED', 'COMPLETED', 'PENDING', 'CANCELLED'] as const;
const USERS = 40;
const BOOKINGS = 260;

type Row = (string | number | null)[];

/** Writes the sample's database: shaped as Django makes one, in WAL mode, the same on every machine. */
export async function writeDatabase(file: string): Promise<void> {
  const database = await open(file);
  try {
    await exec(database, `PRAGMA journal_mode = WAL; BEGIN; ${SCHEMA}`);
    await insert(database, 'django_migrations (app, name, applied)', migrations());
    await insert(
      database,
      'auth_user (password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)',
      users(),
    );
    await insert(
      database,
      'puja_service (title, title_local, description, image, duration_minutes, price, is_active, created_at)',
      services(),
    );
    await insert(
      database,
      'booking (reference, selected_date, address, status, notes, created_at, user_id, service_id)',
      bookings(),
    );
    await insert(
      database,
      'payment (transaction_id, amount, currency, method, status, paid_at, booking_id)',
      payments(),
    );
    await exec(database, 'COMMIT');
  } finally {
    await close(database);
  }
}

function migrations(): Row[] {
  return Object.entries(MIGRATIONS).flatMap(([app, names]) => names.map((name): Row => [app, name, time(0)]));
}

function users(): Row[] {
  return Array.from({ length: USERS }, (_, index) => {
    const [first, last] = pick(PEOPLE, index);
    const staff = index < 2 ? 1 : 0;
    const name = staff ? `admin${index + 1}` : `devotee${index + 1}`;
    return ['!', null, staff, name, first, last, `${name}@example.org`, staff, 1, time(index)]; // '!': no one can log in
  });
}

function services(): Row[] {
  return SERVICES.map(([title, local, minutes, price], index) => [
    title,
    local,
    `${title} (${local}), at your home or at the temple. Samagri included.`,
    `images/service-${index + 1}.png`,
    minutes,
    price,
    1,
    time(index),
  ]);
}

function bookings(): Row[] {
  return Array.from({ length: BOOKINGS }, (_, index) => {
    const [, local] = pick(SERVICES, index * 3);
    return [
      `OKP-${String(index + 1).padStart(6, '0')}`,
      time(index % 300).slice(0, 10),
      `${index + 1}, MG Road, पटना 80000${index % 10}`,
      pick(STATUSES, index * 7),
      index % 5 === 0 ? `कृपया समय पर आएँ. ${local}` : '',
      time(index % 280),
      (index % (USERS - 2)) + 3,
      ((index * 3) % SERVICES.length) + 1,
    ];
  });
}

function payments(): Row[] {
  return Array.from({ length: BOOKINGS }, (_, index): Row => {
    const [, , , price] = pick(SERVICES, index * 3);
    const paid = pick(STATUSES, index * 7) !== 'PENDING';
    const method = pick(['UPI', 'CARD', 'CASH'] as const, index);
    return [
      `TXN${1_000_000 + index * 7919}`,
      price,
      'INR',
      method,
      paid ? 'PAID' : 'DUE',
      paid ? time(index % 280) : null,
      index + 1,
    ];
  }).filter((_, index) => index % 6 !== 5);
}

function pick<T>(list: readonly T[], index: number): T {
  return list[index % list.length] as T;
}

/** A moment as Django writes it, so many days after the sample's first. */
function time(days: number): string {
  return new Date(Date.UTC(2025, 0, 1, 4, 30) + days * 86_400_000).toISOString().slice(0, 19).replace('T', ' ');
}

function open(file: string): Promise<sqlite3.Database> {
  return new Promise((resolve, reject) => {
    const database = new sqlite3.Database(file, (error) => (error === null ? resolve(database) : reject(error)));
  });
}

function exec(database: sqlite3.Database, sql: string): Promise<void> {
  return new Promise((resolve, reject) => {
    database.exec(sql, (error) => (error === null ? resolve() : reject(error)));
  });
}

async function insert(database: sqlite3.Database, into: string, rows: Row[]): Promise<void> {
  for (const row of rows) {
    const sql = `INSERT INTO ${into} VALUES (${row.map(() => '?').join(', ')})`;
    await new Promise<void>((resolve, reject) => {
      database.run(sql, row, (error: Error | null) => (error === null ? resolve() : reject(error)));
    });
  }
}

function close(database: sqlite3.Database): Promise<void> {
  return new Promise((resolve, reject) => {
    database.close((error) => (error === null ? resolve() : reject(error)));
  });
}
