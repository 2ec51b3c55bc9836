class CreateShop < ActiveRecord::Migration[6.1]
  def change
    create_table :customers do |t|
      t.string :name, null: false, limit: 40, index: { unique: true }
    end
    create_table :inovices do |t|
      t.string :number, null: false, limit: 12, index: { unique: true }
      t.references :customr, null: false, foreign_key: { to_table: :customers }
      t.integer :amount, null: false
      t.text :phone
      t.integer :lock_version, null: false, default: 0
      t.date :due, null: false
    end
    create_table :payments do |t|
      t.references :inovice, null: false,
                   foreign_key: { on_delete: :cascade }
      t.integer :amount, null: false
    end
  end
end
