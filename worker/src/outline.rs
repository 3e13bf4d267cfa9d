//! What a program is, read without compiling it: that it is valid, imports only what there is, begins as a WASI command
//! does, and what it can be run as.

use essaim_jobs::Roles;
use wasm_encoder::{RawSection, SectionId};
use wasmparser::{BinaryReaderError, Export, ExternalKind, FuncType, Parser, Payload, TypeRef};
use wasmtime::Module;

use crate::engine::Engine;
use crate::error::{ProgramError, bounded};
use crate::program::{START, compile_error, declared, link_error, to_binary};

/// What a program that can be run here says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// What it says that it can be run as, beside a map.
    pub roles: Roles,
}

impl Outline {
    pub(crate) fn of(engine: &Engine, bytes: &[u8]) -> Result<Outline, ProgramError> {
        let binary = to_binary(bytes)?;
        Module::validate(&engine.0.wasmtime, &binary).map_err(compile_error)?;
        let sections = Sections::of(&binary).map_err(|e| ProgramError::Compile { message: bounded(e) })?;
        // Its types and imports are a small module of their own, which is linked as the whole would be.
        let imports = Module::from_binary(&engine.0.wasmtime, &sections.imports).map_err(compile_error)?;
        engine.0.linker.instantiate_pre(&imports).map_err(link_error)?;
        if sections.starts() { Ok(Outline { roles: declared(&binary) }) } else { Err(ProgramError::NoStart) }
    }
}

/// What is looked at of a valid module.
#[derive(Default)]
struct Sections {
    /// A module of its types and imports alone.
    imports: Vec<u8>,
    types: Vec<FuncType>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    /// The function that is exported as the start.
    start: Option<u32>,
}

impl Sections {
    fn of(binary: &[u8]) -> Result<Sections, BinaryReaderError> {
        let mut sections = Sections::default();
        let mut imports = wasm_encoder::Module::new();
        for payload in Parser::new(0).parse_all(binary) {
            match payload? {
                Payload::TypeSection(types) => {
                    imports.section(&RawSection { id: SectionId::Type.into(), data: &binary[types.range()] });
                    sections.types = types.into_iter_err_on_gc_types().collect::<Result<_, _>>()?;
                }
                Payload::ImportSection(all) => {
                    imports.section(&RawSection { id: SectionId::Import.into(), data: &binary[all.range()] });
                    for import in all.into_imports() {
                        sections.functions.extend(match import?.ty {
                            TypeRef::Func(of_type) | TypeRef::FuncExact(of_type) => Some(of_type),
                            _ => None,
                        });
                    }
                }
                Payload::FunctionSection(all) => {
                    for of_type in all {
                        sections.functions.push(of_type?);
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        if let Export { name: START, kind: ExternalKind::Func, index } = export? {
                            sections.start = Some(index);
                        }
                    }
                }
                _ => {}
            }
        }
        sections.imports = imports.finish();
        Ok(sections)
    }

    /// Whether its start takes and gives nothing.
    fn starts(&self) -> bool {
        let of_type = self.start.and_then(|function| self.functions.get(function as usize));
        let signature = of_type.and_then(|of_type| self.types.get(*of_type as usize));
        signature.is_some_and(|signature| signature.params().is_empty() && signature.results().is_empty())
    }
}
