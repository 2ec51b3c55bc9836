# A shop in ActiveRecord, with its own migrations; see ../rounds.py.

require 'active_record'
require 'digest'
require 'pg'

class Customer < ActiveRecord::Base
  has_many :inovices, foreign_key: :customr_id
end

class Inovice < ActiveRecord::Base
  belongs_to :customr, class_name: 'Customer'
  has_many :payments, dependent: :destroy
  validates :number, uniqueness: true
  scope :of, ->(n) { where('number LIKE ?', "#{n}-%") }
end

class Payment < ActiveRecord::Base
  belongs_to :inovice
end

class Reads
  def initialize(number)
    @number = number
    @all = []
  end

  def note(what, *values)
    @all << "#{what} #{values.inspect}".tr("\n", ' ')
  end

  def print
    @all.each { |line| warn "#{@number}\t#{line}" }
    puts "#{@number} #{Digest::SHA256.hexdigest(@all.join("\n"))[0, 16]}"
    $stdout.flush
  end
end

def setup
  migrations = ActiveRecord::MigrationContext.new(
    File.join(__dir__, 'db/migrate'), ActiveRecord::SchemaMigration
  )
  ActiveRecord::Migration.verbose = false
  migrations.migrate
  (1..5).each { |n| Customer.create!(name: "customer #{n}") }
end

def due(n, k = 0)
  Date.new(2024, 1, 1) + n + k
end

def create(n, r)
  first = Inovice.create!(number: "#{n}-0", customr_id: 1 + n % 5, amount: n,
                          phone: format('555-%04d', n % 10000), due: due(n))
  many = (1..4).map do |k|
    i = Inovice.new(number: "#{n}-#{k}", customr_id: k, amount: k * 10,
                    due: due(n, k))
    i.payments.build([{ amount: k }, { amount: k + 1 }])
    i.save!
    i
  end
  rows = (5..7).map do |k|
    { number: "#{n}-#{k}", customr_id: 2, amount: k, due: due(n, k) }
  end
  r.note('insert_all', Inovice.insert_all!(rows).rows)
  rows = (7..8).map do |k|
    { number: "#{n}-#{k}", customr_id: 3, amount: 100 + k, phone: '555-1234',
      due: due(n, k) }
  end
  r.note('upsert_all', Inovice.upsert_all(rows, unique_by: :number).rows)
  r.note('ignored', Inovice.insert_all(rows, unique_by: :number).rows)
  r.note('created', first.attributes, many.map(&:id))
  first
end

def read(n, r)
  r.note('find', Inovice.find_by!(number: "#{n}-3").attributes,
         Inovice.find(Inovice.of(n).minimum(:id)).number)
  r.note('all', Inovice.of(n).order(:id).map(&:attributes))
  r.note('where', Inovice.of(n).where(amount: [10, 20, 107]).order(:id)
                         .pluck(:number, :amount),
         Inovice.of(n).where.not(phone: nil).order(:id).pluck(:phone),
         Inovice.of(n).where(phone: '555-1234').count,
         Inovice.of(n).where(amount: 10..30).or(Inovice.where(
           number: "#{n}-7"
         )).order(amount: :desc, id: :asc).pluck(:id))
  r.note('group', Inovice.of(n).joins(:customr).group('customers.name')
                         .order('customers.name').sum(:amount),
         Inovice.of(n).average(:amount).to_s, Inovice.of(n).maximum(:due))
  r.note('includes', Inovice.of(n).includes(:customr, :payments).order(:id)
    .map { |i| [i.number, i.customr.name, i.payments.map(&:amount).sort] })
  r.note('eager', Inovice.of(n).eager_load(:payments).order(:id, 'payments.id')
                         .where('payments.amount > 1')
                         .map { |i| [i.id, i.payments.size] })
  r.note('batches', Inovice.of(n).find_each(batch_size: 3).map(&:number),
         Inovice.of(n).order(:number).limit(3).offset(2).pluck(:number))
  r.note('exists', Inovice.exists?(number: "#{n}-99"),
         Customer.where(id: Inovice.of(n).select(:customr_id)).order(:id).ids,
         Customer.left_joins(:inovices).group(:id).order(:id)
                 .count('inovices.id'))
  r.note('sql', Inovice.find_by_sql(
    ['SELECT i.*, rank() OVER (ORDER BY amount, id) AS r FROM inovices i' \
     ' WHERE number LIKE ? ORDER BY id', "#{n}-%"]
  ).map { |i| [i.number, i.r] })
end

def error(r, what)
  Inovice.transaction(requires_new: true) { yield }
rescue ActiveRecord::StatementInvalid, ActiveRecord::RecordInvalid => e
  r.note(what, e.class.name, e.cause.respond_to?(:result) &&
    e.cause.result&.error_field(PG::PG_DIAG_SQLSTATE))
end

def write(n, r, first)
  first.update!(amount: first.amount + 5, phone: '555-7777')
  stale = Inovice.find(first.id)
  first.update!(note: 'saved')
  begin
    stale.update!(note: 'stale')
  rescue ActiveRecord::StaleObjectError => e
    r.note('stale', e.attempted_action)
  end
  first.increment!(:amount, 3)
  r.note('update_all', Inovice.of(n).where('amount < 20').update_all(
    'amount = amount + 1, note = upper(note)'
  ))
  Inovice.transaction do
    i = Inovice.lock.find_by!(number: "#{n}-1")
    i.amount *= 2
    i.save!
    i.payments.create!(amount: 99)
    r.note('locked', Inovice.of(n).lock('FOR SHARE SKIP LOCKED').order(:id).ids)
    error(r, 'unique') do
      Inovice.new(number: "#{n}-1", customr_id: 1, amount: 1, due: due(n))
             .save!(validate: false)
    end
    error(r, 'invalid') { Inovice.create!(number: "#{n}-1", customr_id: 1) }
    error(r, 'check') { i.update!(amount: -1) }
    error(r, 'null') { i.update_columns(due: nil) }
    error(r, 'key') { i.update_columns(customr_id: 77) }
    error(r, 'long') { i.update_columns(note: 'far too long') }
  end
  Inovice.find_by!(number: "#{n}-2").with_lock do
    Inovice.of(n).update_all(note: 'undone')
    raise ActiveRecord::Rollback
  end
  got = Inovice.find_or_create_by!(number: "#{n}-9") do |i|
    i.assign_attributes(customr_id: 1, amount: 9, due: due(n))
  end
  r.note('found', got.attributes, got.reload.attributes)
end

def catalog(r)
  c = ActiveRecord::Base.connection
  c.schema_cache.clear!
  Inovice.reset_column_information
  r.note('columns', c.columns(:inovices).map do |x|
    [x.name, x.sql_type, x.null, x.default]
  end)
  r.note('key', c.primary_key(:inovices), c.table_exists?(:inovices),
         c.indexes(:inovices).map { |i| [i.columns, i.unique] }.sort_by(&:to_s),
         c.tables.sort - ['invoices'])
end

def round(n)
  r = Reads.new(n)
  catalog(r)
  first = create(n, r)
  read(n, r)
  write(n, r, first)
  read(n, r)
  r.note('deleted', Inovice.of(n - 3).order(:id).first&.destroy&.id,
         Inovice.of(n - 3).delete_all, Inovice.count, Payment.count)
  r.print
end

def stopped?
  !IO.select([$stdin], nil, nil, 0).nil?
end

ActiveRecord::Base.establish_connection(
  ARGV[1].sub('postgres:', 'postgresql:')
)
if ARGV[0] == 'setup'
  setup
else
  first = ARGV[2].to_i
  (first..).each do |n|
    break if ARGV[3] == '-' ? stopped? : n >= first + ARGV[3].to_i

    round(n)
    sleep 0.5 if ARGV[3] == '-'
  end
  puts 'done'
end
