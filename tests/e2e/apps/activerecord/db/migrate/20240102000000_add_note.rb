class AddNote < ActiveRecord::Migration[6.1]
  def change
    add_column :inovices, :note, :string, limit: 10, default: 'none'
    add_index :inovices, %i[customr_id due]
    reversible do |dir|
      dir.up do
        execute 'ALTER TABLE inovices ADD CONSTRAINT amounts CHECK (amount >= 0)'
      end
    end
  end
end
