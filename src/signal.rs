//! The statistics, one a file, each with its source. They measure; what it means is [`crate::judge`]'s business.
//!
//! | file | what it measures | sees |
//! |---|---|---|
//! | [`density`] | density, dependence and evenness of a row | inputs from no natural source |
//! | [`copula`] | numbers that do not go together, in fine detail | small steps of many features |
//! | [`combinations`] | combinations of three values never seen together | mixtures of real rows |
//! | [`boundary`] | nearness to the decision boundary | adaptive retraining, walks |
//! | [`dependency`] | broken functional dependencies | varied columns |
//! | [`similarity`] | how improbably similar two rows are | searches |
//! | [`edits`] | whether a person or a machine edits | searches |
//! | [`boosting`] | in which of two samples a row is likelier | what many rows have in common |
//! | [`perturbation`] | sizes of steps in the features' own scales | perturbations |
//! | [`information`] | what could have been learned from the rows asked | copies that look like use |
//! | [`psi`] | drift of a distribution, with a critical value | a changing world |
//! | [`additive`] | what the features explain of the answers | a changed model |
//! | [`distinct`] | different rows of a window | sheer volume |
//! | [`upper_tail`] | how improbable so large a number is among peers | sheer volume |
//! | [`rate`] | queries per hour against own past and peers | description only |
//! | [`gap`] | time between queries | description only |
//! | [`entropy`] | spread of feature values | description only |
//!
//! What the statistics share:
//!
//! | file | what it holds |
//! |---|---|
//! | [`codes`] | rows as codes: bins of values, and coarser ones for tables |
//! | [`normal_scores`] | numbers as quantiles of the normal distribution |
//! | [`lift`] | how much rarer a combination is than by chance |
//! | [`cuts`] | the p-values at which evidence is counted |
//! | [`ranks`] | conformal p-values: what share of the reference scores as high |
//! | [`neighbours`] | which rows to compare |
//! | [`quantise`] | rows in two bytes a feature |
//! | [`search_grid`] | a grid over ascending numbers |

pub mod additive;
pub mod boosting;
pub mod boundary;
pub mod codes;
pub mod combinations;
pub mod copula;
pub mod cuts;
pub mod density;
pub mod dependency;
pub mod distinct;
pub mod edits;
pub mod entropy;
pub mod gap;
pub mod information;
pub mod lift;
pub mod neighbours;
pub mod normal_scores;
pub mod perturbation;
pub mod psi;
pub mod quantise;
pub mod ranks;
pub mod rate;
pub mod search_grid;
pub mod similarity;
pub mod upper_tail;
