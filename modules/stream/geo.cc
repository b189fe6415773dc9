#include "modules/shared/geo.h"

#include "engine/stream/builder.h"
#include "modules/stream/modules.h"
#include "modules/stream/values.h"

// ngx_stream_geo_module: registers the shared geo with stream.
namespace weir::stream {

namespace {

using namespace conf;

Value evaluate_geo(VariableSource& source, const Variable& variable) {
  const auto& geo = *reinterpret_cast<const shared::Geo*>(variable.data);
  if (geo.source == kNoVariable) return geo.find(session_of(source).peer());
  const Value text = source.variable(geo.source);
  return geo.find_text(text.found ? text.text : std::string_view());
}

bool is_variable(Compiler& compiler, const Statement& statement, const Word& word) {
  if (word.text.starts_with("$") && word.text.size() > 1) return true;
  compiler.error(statement, "invalid variable name \"" + std::string(word.text) + "\"",
                 "a variable's name begins with $", &word);
  return false;
}

void read_geo(Compiler& compiler, Scope&, const Statement& statement) {
  const bool has_source = statement.words.size() == 3;
  for (const Word& word : statement.words.subspan(1)) {
    if (!is_variable(compiler, statement, word)) return;
  }
  const Word& name = statement.words[has_source ? 2 : 1];
  const VariableId source =
      has_source ? compiler.variables().use(statement.words[1].text.substr(1)) : kNoVariable;
  Variable variable;
  variable.name = name.text.substr(1);
  variable.get = evaluate_geo;
  variable.changeable = true;
  if (const Variable* known = compiler.variables().find(variable.name);
      known && !known->changeable) {
    compiler.error(statement, "the duplicate \"" + variable.name + "\" variable", {}, &name);
    return;
  }
  auto geo = shared::Geo::read(compiler, statement, false);
  if (!geo) return;
  geo->source = source;
  variable.cacheable = !geo->is_volatile;
  variable.data = reinterpret_cast<uintptr_t>(geo.get());
  if (has_source) variable.reads = {source};
  compiler.variables().define(variable);
  builder(compiler).graph().keep(std::move(geo));
}

constexpr Directive kDirectives[] = {
    {.name = "geo",
     .where = kStream,
     .args = {1, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = read_geo,
     .doc = "Defines a variable whose value depends on an address, the client's by default."},
};

}  // namespace

const conf::Module kGeoModule{
    .name = "ngx_stream_geo_module", .directives = kDirectives, .root = conf::kStream};

}  // namespace weir::stream
