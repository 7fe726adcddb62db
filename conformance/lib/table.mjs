// Results of the cluster cases as one table: operation by direction.

export class Table {
  #columns = [];
  #rows = new Map();

  record(row, column, result) {
    if (!this.#columns.includes(column)) this.#columns.push(column);
    if (!this.#rows.has(row)) this.#rows.set(row, new Map());
    this.#rows.get(row).set(column, result);
  }

  toString() {
    const width = Math.max(...[...this.#rows.keys()].map((row) => row.length));
    const line = (row, cells) =>
      `${row.padEnd(width)} | ${cells.map((cell, i) => cell.padEnd(this.#columns[i].length)).join(" | ")}`;
    return [
      line("operation", this.#columns),
      [...this.#rows].map(([row, cells]) => line(row, this.#columns.map((column) => cells.get(column) ?? ""))),
    ].flat().join("\n");
  }
}
