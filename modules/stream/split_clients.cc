#include "modules/shared/split_clients.h"

#include "engine/stream/builder.h"
#include "modules/stream/modules.h"

// ngx_stream_split_clients_module: registers the shared split_clients with stream.
namespace weir::stream {

namespace {

using namespace conf;

Value evaluate_split(VariableSource& source, const Variable& variable) {
  return reinterpret_cast<const shared::SplitClients*>(variable.data)->evaluate(source);
}

void read_split(Compiler& compiler, Scope&, const Statement& statement) {
  const Word& name = statement.words[2];
  if (!name.text.starts_with("$") || name.text.size() == 1) {
    compiler.error(statement, "invalid variable name \"" + std::string(name.text) + "\"",
                   "the second word is the variable that it defines: it begins with $", &name);
    return;
  }
  Variable variable;
  variable.name = name.text.substr(1);
  variable.get = evaluate_split;
  variable.changeable = true;
  if (const Variable* known = compiler.variables().find(variable.name);
      known && !known->changeable) {
    compiler.error(statement, "the duplicate \"" + variable.name + "\" variable", {}, &name);
    return;
  }
  auto split = shared::SplitClients::read(compiler, statement);
  if (!split) return;
  variable.data = reinterpret_cast<uintptr_t>(split.get());
  split->source().for_each_variable([&](VariableId id) { variable.reads.push_back(id); });
  compiler.variables().define(variable);
  builder(compiler).graph().keep(std::move(split));
}

constexpr Directive kDirectives[] = {
    {.name = "split_clients",
     .where = kStream,
     .args = {2, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = read_split,
     .doc = "Defines a variable that takes given values in given shares, by the hash of a text."},
};

}  // namespace

const conf::Module kSplitClientsModule{
    .name = "ngx_stream_split_clients_module", .directives = kDirectives, .root = conf::kStream};

}  // namespace weir::stream
