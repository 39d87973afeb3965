//! The statistics, one a file, each with its source. They measure; what it means is [`crate::judge`]'s business.
//!
//! | file | what it measures | sees |
//! |---|---|---|
//! | [`rate`] | queries per hour against own past and peers | volume |
//! | [`gap`] | time between queries | machines |
//! | [`entropy`] | spread of feature values | uniform probing, line searches |
//! | [`psi`] | drift of a distribution, with a critical value | a changing world |
//! | [`additive`] | what the features explain of the answers | a changed model |
//! | [`density`] | density, dependence and evenness of a row | inputs from no natural source |
//! | [`copula`] | numbers that do not go together, finely | small steps of many features |
//! | [`combinations`] | combinations of three values never seen together | mixtures of real rows |
//! | [`boundary`] | nearness to the decision boundary | adaptive retraining, walks |
//! | [`ranks`] | what share of the reference scores as high | – |
//! | [`dependency`] | broken functional dependencies | varied columns |
//! | [`similarity`] | how improbably alike two rows are | searches |
//! | [`neighbours`] | which rows to compare | – |
//! | [`search_grid`] | where to look in ascending numbers | – |
//! | [`quantise`] | rows in two bytes a feature | – |
//! | [`perturbation`] | sizes of steps in the features' own scales | perturbations |
//! | [`edits`] | whether a person or a machine edits | searches |
//! | [`information`] | what could have been learned from the rows asked | copies that look like use |

pub mod additive;
pub mod boundary;
pub mod codes;
pub mod combinations;
pub mod copula;
pub mod cuts;
pub mod density;
pub mod dependency;
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
